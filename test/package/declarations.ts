// What a file declares for others: names, docstrings and signatures, for the reference.
//
// From the declarations that the compiler writes, since only they have every type; where those name something that nobody can import,
// the name that can be imported takes its place.
import { format, type FormatConfig } from "oxfmt"
import { type Class, type Node, parseSync, type Span, type Statement, Visitor } from "oxc-parser"
import { basename, dirname, join } from "node:path/posix"

/** The text of a file, by its path in `src` without its ending: as it was written, and as the compiler declares it. */
export interface Texts {
  readonly source: (file: string) => string
  readonly declared: (file: string) => string
}

interface Docs {
  /** What it is: all that stands before the first of its parts. */
  readonly lead: string
  /** `**Details**`, `**Example**` and so on, as they are written. */
  readonly parts: string
  readonly category: string | undefined
}

export interface Declared {
  readonly name: string
  readonly file: File
  readonly statement: Statement
  readonly docs: Docs
}

interface Reference extends Span {
  /** The file that is meant, without its ending, or the module. */
  readonly file: string
  readonly name: string
}

interface Edit extends Span {
  readonly text: string
}

interface File {
  readonly path: string
  readonly text: string
  readonly statements: ReadonlyArray<Statement>
  readonly docsBefore: (position: number) => Docs
  /** What is declared in it, for others or not. */
  readonly declared: ReadonlyMap<string, Statement>
  /** Where something of another file is named. */
  readonly references: ReadonlyArray<Reference>
  readonly identifiers: ReadonlyArray<Span & { readonly name: string }>
}

/** The docstring between `/*` and its end. */
const docsOf = (comment: string): Docs => {
  const lines = comment.replace(/^\*/, "").split("\n")
  const text = lines.map((line) => line.replace(/^ *\* ?/, "")).join("\n")
  const untagged = text.replace(/^ *@(?:category|since)\b.*$/gm, "").trim()
  const part = untagged.search(/^\*\*[A-Z][^*]*\*\*/m)
  return {
    lead: (part < 0 ? untagged : untagged.slice(0, part)).trim(),
    parts: part < 0 ? "" : untagged.slice(part),
    category: /^ *@category (.+)$/m.exec(text)?.[1]
  }
}

const declarationIn = (statement: Statement) =>
  statement.type === "ExportNamedDeclaration" ? statement.declaration : statement

const namesIn = (statement: Statement): ReadonlyArray<string> => {
  const declaration = declarationIn(statement)
  if (declaration?.type === "VariableDeclaration") {
    return declaration.declarations.flatMap(({ id }) => (id.type === "Identifier" ? [id.name] : []))
  }
  return declaration !== null && "id" in declaration && declaration.id?.type === "Identifier"
    ? [declaration.id.name]
    : []
}

const classIn = (statement: Statement): Class | undefined => {
  const declaration = declarationIn(statement)
  return declaration?.type === "ClassDeclaration" ? declaration : undefined
}

const fileFrom = (file: string, specifier: string) =>
  specifier.startsWith(".") ? join(dirname(file), specifier.replace(/\.ts$/, "")) : specifier

const read = (path: string, name: string, text: string): File => {
  const { comments, program } = parseSync(name, text)
  const imported = new Map<string, string>()
  const references: Array<Reference> = []
  const identifiers: Array<Span & { readonly name: string }> = []
  const refer = ({ end, start }: Span, namespace: Node, name: string) => {
    const file = namespace.type === "Identifier" ? imported.get(namespace.name) : undefined
    if (file !== undefined) references.push({ start, end, file, name })
  }
  for (const statement of program.body) {
    if (statement.type !== "ImportDeclaration") continue
    for (const { local } of statement.specifiers) imported.set(local.name, fileFrom(path, statement.source.value))
  }
  new Visitor({
    Identifier: ({ end, name, start }) => identifiers.push({ start, end, name }),
    TSQualifiedName: (node) => refer(node, node.left, node.right.name),
    MemberExpression: (node) => {
      if (node.property.type === "Identifier") refer(node, node.object, node.property.name)
    },
    TSImportType: ({ qualifier, source, start }) => {
      if (qualifier?.type !== "Identifier") return
      references.push({ start, end: qualifier.end, file: fileFrom(path, source.value), name: qualifier.name })
    }
  }).visit(program)
  return {
    path,
    text,
    references,
    identifiers,
    statements: program.body,
    declared: new Map(program.body.flatMap((statement) => namesIn(statement).map((each) => [each, statement]))),
    docsBefore: (position) => {
      const comment = comments.findLast(({ end }) => end <= position)
      const isItsOwn = comment?.value.startsWith("*") === true && text.slice(comment.end, position).trim() === ""
      return docsOf(isItsOwn ? comment.value : "")
    }
  }
}

const edited = ({ text }: File, { end, start }: Span, edits: ReadonlyArray<Edit>) => {
  const parts: Array<string> = []
  let position = start
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    // What stands in something that is left out, or said otherwise, goes with it.
    if (edit.start < position || edit.end > end) continue
    parts.push(text.slice(position, edit.start), edit.text)
    position = edit.end
  }
  return [...parts, text.slice(position, end)].join("")
}

/** The files, each of them read once. */
const makeFiles = (texts: Texts) => {
  const files = new Map<string, File>()
  const once = (path: string, ending: string, text: (path: string) => string) => {
    const name = `${path}${ending}`
    const file = files.get(name) ?? read(path, name, text(path))
    files.set(name, file)
    return file
  }
  const declared = (path: string) => once(path, ".d.ts", texts.declared)

  /** What can be imported from a file, in its order: those included that it has from another one. */
  const exportsOf = (path: string): ReadonlyArray<Declared> => {
    const file = declared(path)
    return file.statements.flatMap((statement): ReadonlyArray<Declared> => {
      if (statement.type === "ExportAllDeclaration") return exportsOf(fileFrom(path, statement.source.value))
      if (statement.type !== "ExportNamedDeclaration") return []
      if (statement.source === null) {
        return namesIn(statement).map((name) => ({ name, file, statement, docs: file.docsBefore(statement.start) }))
      }
      const names = new Set(statement.specifiers.map(({ local }) => ("name" in local ? local.name : local.value)))
      return exportsOf(fileFrom(path, statement.source.value)).filter(({ name }) => names.has(name))
    })
  }

  return { exportsOf, source: (path: string) => once(path, ".ts", texts.source) }
}

type Files = ReturnType<typeof makeFiles>

/** How things are called from outside. */
const makeNames = ({ exportsOf }: Files, rooms: ReadonlyArray<string>) => {
  const roomOf = new Map<string, string>()
  for (const room of rooms) {
    for (const { file, name } of exportsOf(room)) {
      const id = `${file.path} ${name}`
      if (!roomOf.has(id)) roomOf.set(id, room)
    }
  }

  /** What is declared in the file under a name that nobody can import. */
  const hidden = (file: File, name: string): Statement | undefined =>
    roomOf.has(`${file.path} ${name}`) ? undefined : file.declared.get(name)

  /** Things of other files, by the names that they are imported with. */
  const renamed = (room: string, file: File): ReadonlyArray<Edit> =>
    file.references.flatMap(({ end, file: target, name, start }) => {
      const itsRoom = roomOf.get(`${target} ${name}`)
      if (itsRoom !== undefined) return [{ start, end, text: itsRoom === room ? name : `${basename(itsRoom)}.${name}` }]
      const isImportType = file.text.startsWith("import(", start)
      return isImportType ? [{ start, end, text: `${basename(target)}.${name}` }] : []
    })

  return { hidden, renamed }
}

type Names = ReturnType<typeof makeNames>

/** What is said by a value that stands elsewhere in the file: the fields that several errors have, say. */
const inPlace = ({ hidden }: Names, file: File): ReadonlyArray<Edit> =>
  file.identifiers.flatMap(({ end, name, start }) => {
    const isField = /^ *:/.test(file.text.slice(end)) || file.text[start - 1] === "."
    const statement = isField ? undefined : hidden(file, name)
    const init = statement?.type === "VariableDeclaration" ? statement.declarations[0]?.init : null
    return init == null ? [] : [{ start, end, text: file.text.slice(init.start, init.end) }]
  })

/** Members that are not for others, and constructors that nobody else can call, since what they take has no name outside. */
const leftOut = ({ hidden }: Names, file: File, { body }: Class): ReadonlyArray<Edit> =>
  body.body.flatMap((member, n) => {
    const names = () => file.identifiers.filter(({ end, start }) => member.start <= start && end <= member.end)
    const isLeftOut =
      ("accessibility" in member && (member.accessibility === "private" || member.accessibility === "protected")) ||
      ("key" in member && member.key.type === "PrivateIdentifier") ||
      ("kind" in member &&
        member.kind === "constructor" &&
        names().some(({ name }) => hidden(file, name) !== undefined))
    const start = n === 0 ? body.start + 1 : body.body[n - 1]!.end
    return isLeftOut ? [{ start, end: member.end, text: "" }] : []
  })

/** The classes that others extend, and that cannot be imported themselves: what those have in common. */
const basesOf = ({ hidden }: Names, all: ReadonlyArray<Declared>): ReadonlyArray<Declared> => {
  const found = new Map<string, Declared>()
  const add = ({ file, statement }: Declared) => {
    const superClass = classIn(statement)?.superClass
    if (superClass?.type !== "Identifier" || found.has(superClass.name)) return
    const base = hidden(file, superClass.name)
    if (base === undefined || classIn(base) === undefined) return
    const declaration = { name: superClass.name, file, statement: base, docs: file.docsBefore(base.start) }
    add(declaration)
    found.set(superClass.name, declaration)
  }
  for (const declaration of all) add(declaration)
  return [...found.values()]
}

/** What the rooms, named by their files, have for others. */
export const makeDeclarations = (texts: Texts, rooms: ReadonlyArray<string>, style: FormatConfig) => {
  const files = makeFiles(texts)
  const names = makeNames(files, rooms)

  /** The compiler gives what a class extends a name of its own; the source says what it is. */
  const extended = (room: string, file: File, name: string, { superClass, superTypeArguments }: Class) => {
    if (superClass?.type !== "Identifier" || superClass.name !== `${name}_base`) return []
    const source = files.source(file.path)
    const statement = source.statements.find((each) => namesIn(each).includes(name))
    const written = statement === undefined ? undefined : classIn(statement)
    if (written?.superClass == null) return []
    const span = { start: written.superClass.start, end: (written.superTypeArguments ?? written.superClass).end }
    const text = edited(source, span, [...names.renamed(room, source), ...inPlace(names, source)])
    return [{ start: superClass.start, end: (superTypeArguments ?? superClass).end, text }]
  }

  const signature = async (room: string, { file, name, statement }: Declared): Promise<string> => {
    const asClass = classIn(statement)
    const text = edited(file, declarationIn(statement)!, [
      ...(asClass === undefined ? [] : [...extended(room, file, name, asClass), ...leftOut(names, file, asClass)]),
      ...names.renamed(room, file)
    ])
    const { code, errors } = await format(`${name}.d.ts`, text, style)
    if (errors.length > 0) throw new Error(`${file.path}: ${name}: ${errors[0]!.message}\n${text}`)
    return code
      .trim()
      .replace(/^declare /, "")
      .replace(/^let /, "const ")
  }

  return {
    exportsOf: files.exportsOf,
    signature,
    basesOf: (all: ReadonlyArray<Declared>) => basesOf(names, all),
    /** What stands at the head of a file. */
    headOf: (path: string) => docsOf(/^\/\*([^]*?)\*\//.exec(texts.source(path))?.[1] ?? "")
  }
}
