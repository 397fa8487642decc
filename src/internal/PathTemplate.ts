/**
 * Paths with parameters: `/users/:id`.
 *
 * Guarantee: who fills a path and who reads one agree on what in it is a parameter.
 *
 * @since 0.1.0
 */
const parameter = /:([A-Za-z_]\w*)/g

/**
 * The names of the parameters, in their order.
 *
 * @since 0.1.0
 */
export const names = (path: string): ReadonlyArray<string> => Array.from(path.matchAll(parameter), ([, name]) => name!)

/**
 * The path with something in the place of each parameter.
 *
 * @since 0.1.0
 */
export const fill = (path: string, valueOf: (name: string) => string): string =>
  path.replace(parameter, (_, name: string) => valueOf(name))
