/**
 * What somebody is in a group.
 *
 * Guarantee: what Mixin writes of it has one meaning here, in notices and over REST.
 *
 * @since 0.1.0
 */

/**
 * What somebody is in a group.
 *
 * @category models
 * @since 0.1.0
 */
export type Role = "Owner" | "Admin" | "Member"

const roles: ReadonlyMap<string, Role> = new Map([
  ["OWNER", "Owner"],
  ["ADMIN", "Admin"],
  ["", "Member"]
])

/**
 * The role that Mixin writes so, or nothing for one that is not known.
 *
 * @since 0.1.0
 */
export const fromWire = (role: string): Role | undefined => roles.get(role)
