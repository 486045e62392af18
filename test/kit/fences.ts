/** Compares the imports of src/ with the table in docs/rooms.md. Pure: files in, complaints out. */
import { posix } from 'node:path';

/** What a cell allows: the names in it, or with `all` every name but those in it. */
type Allowed = { readonly all: boolean; readonly names: readonly string[] };

export type Room = {
  readonly name: string;
  readonly rooms: Allowed;
  readonly node: Allowed;
  readonly packages: Allowed;
};

/** `-`, `kit, smtp`, `all`, `all but gateway` */
function parseCell(text: string): Allowed {
  const [, all, list = ''] = /^(all\b(?: but)?)?\s*(.*)$/.exec(text) ?? [];
  return { all: all !== undefined, names: list === '-' ? [] : list.split(',').map((name) => name.trim()) };
}

export function allows(cell: Allowed, name: string): boolean {
  return cell.all !== cell.names.includes(name);
}

/** The rows of the table: room, one job, rooms, Node, packages. */
export function parseRooms(markdown: string): Room[] {
  return markdown
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((row) => row.length === 7 && row[1] !== 'room' && !/^-+$/.test(row[1] ?? ''))
    .map(([, name = '', , rooms = '', node = '', packages = '']) => ({
      name,
      rooms: parseCell(rooms),
      node: parseCell(node),
      packages: parseCell(packages),
    }));
}

type Import = { readonly what: string; readonly isProcess: boolean };

/** Every module a file names: import and export from, types too, import(), and files started as threads or processes. */
function importsOf(text: string): { imports: Import[]; unreadable: string[] } {
  const code = text
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\/?\*)/.test(line))
    .join('\n');
  const statements = code.matchAll(/^\s*(?:import|export)\s(?:[^'"`;=(]*?\bfrom\s)?\s*(['"])([^'"\n]+)\1/gm);
  const calls = code.matchAll(/\bimport\s*\(\s*(['"])([^'"\n]+)\1/g);
  const imports = [...statements, ...calls].map((match) => ({ what: match[2] as string, isProcess: false }));
  const started = [...code.matchAll(/new URL\(\s*(['"])([^'"\n]+\.ts)\1\s*,\s*import\.meta\.url/g)].map((match) => ({
    what: posix.join('.', match[2] as string).replace(/^(?!\.)/, './'),
    isProcess: true,
  }));
  const unreadable = [
    ...code.matchAll(/\bimport\s*\(\s*[^'"\s][^)\n]*|\bcreateRequire\b|\bgetBuiltinModule\b|\brequire\s*\(/g),
  ];
  return { imports: [...imports, ...started], unreadable: unreadable.map((match) => match[0]) };
}

/** `src/kit/log.ts` -> kit, `src/main.ts` -> main */
function roomOf(path: string): string {
  const [, first = '', second] = path.split('/');
  return second === undefined ? first.replace(/\.ts$/, '') : first;
}

function packageOf(what: string): string {
  return what
    .split('/')
    .slice(0, what.startsWith('@') ? 2 : 1)
    .join('/');
}

/**
 * @param files path (`src/…/x.ts`) -> text
 * @param dependencies the packages of package.json that are there at run time
 */
export function complaints(
  files: ReadonlyMap<string, string>,
  rooms: readonly Room[],
  dependencies: readonly string[],
): string[] {
  const found: string[] = [];
  const table = new Map(rooms.map((room) => [room.name, room]));
  const edges = new Map<string, string[]>();
  for (const [path, text] of files) {
    const name = roomOf(path);
    const room = table.get(name);
    if (!room) {
      found.push(`${path}: room "${name}" is not in the table`);
      continue;
    }
    const { imports, unreadable } = importsOf(text);
    for (const what of unreadable) found.push(`${path}: "${what}" cannot be followed; name the module as a literal`);
    const targets: string[] = [];
    for (const { what, isProcess } of imports) {
      if (what.startsWith('node:')) {
        if (!allows(room.node, what.slice(5))) found.push(`${path}: ${what} is not in the row of ${name}`);
      } else if (what.startsWith('.')) {
        const target = posix.join(posix.dirname(path), what);
        const other = roomOf(target);
        if (!files.has(target)) found.push(`${path}: ${what} is no file under src/`);
        if (!isProcess) targets.push(target);
        // Starting the program again is no import of it.
        else if (other === 'main') continue;
        if (other !== name && !allows(room.rooms, other))
          found.push(`${path}: room ${other} is not in the row of ${name}`);
      } else {
        const pack = packageOf(what);
        if (!allows(room.packages, pack)) found.push(`${path}: package ${pack} is not in the row of ${name}`);
        if (!dependencies.includes(pack)) found.push(`${path}: ${pack} is no dependency (a Node module needs "node:")`);
      }
    }
    edges.set(path, targets);
  }
  for (const room of rooms)
    if (![...files.keys()].some((path) => roomOf(path) === room.name)) found.push(`room "${room.name}" has no file`);
  return [...found, ...circles(edges)];
}

/** Each circle of files once, written as the way round. */
function circles(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (path: string): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push(`a circle: ${[...way.slice(at), path].join(' -> ')}`);
    if (at >= 0 || done.has(path)) return;
    way.push(path);
    for (const target of edges.get(path) ?? []) visit(target);
    way.pop();
    done.add(path);
  };
  for (const path of edges.keys()) visit(path);
  return found;
}
