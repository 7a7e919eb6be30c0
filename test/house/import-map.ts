import { posix } from 'node:path';
import type { SourceFile } from './source-files.ts';

export type Import = { readonly from: string; readonly specifier: string; readonly typeOnly: boolean };

/** The rooms of docs/architecture.md and what each may import of ours. */
const ROOMS: { readonly [room: string]: readonly string[] | 'anything' } = {
  core: [],
  migrations: [],
  sync: ['core'],
  agent: ['core'],
  server: ['core', 'sync', 'migrations'],
  cli: ['core', 'server'],
  web: ['core'],
  bench: 'anything',
  test: 'anything',
  script: 'anything',
};

/** Packages that live in one place. `types` widens the place for `import type`. */
const PACKAGES: readonly { readonly name: string; readonly home: RegExp; readonly types?: RegExp }[] = [
  { name: 'knex', home: /^(server\/db|migrations)\//, types: /^(server|migrations)\// },
  { name: 'express', home: /^server\/(api|boot)\// },
  { name: 'winston', home: /^server\/log\.ts$/, types: /^server\// },
  { name: 'child_process', home: /-process\.ts$/ },
  { name: 'react', home: /^web\// },
  { name: 'react-dom', home: /^web\// },
  { name: '@patternfly/patternfly', home: /^web\// },
  { name: 'vite', home: /^script\// },
  { name: 'playwright-core', home: /^test\// },
];

const STATEMENT = /\b(?:import|export)\s+(type\s+)?(?:[\w*{][^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/g;
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]/g;
const WORKER = /new URL\(\s*['"](\.[^'"]+\.ts)['"]\s*,\s*import\.meta\.url/g;

/** Static, dynamic and worker imports of one file. `import { type A }` alone counts as a type import. */
export function findImports({ path, text }: SourceFile): Import[] {
  const code = text.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const found = [...code.matchAll(STATEMENT)].map((match) => ({
    from: path,
    specifier: match[2] ?? '',
    typeOnly: match[1] !== undefined || /\{\s*(type \w+( as \w+)?,?\s*)+\}/.test(match[0]),
  }));
  const others = [...code.matchAll(DYNAMIC), ...code.matchAll(WORKER)];
  return [...found, ...others.map((match) => ({ from: path, specifier: match[1] ?? '', typeOnly: false }))];
}

/** Where a relative import leads, from the root of the tree; undefined for packages. */
export function targetOf({ from, specifier }: Import): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(from), specifier) : undefined;
}

/** Why this import may not be, or undefined. */
export function judgeImport(one: Import): string | undefined {
  const target = targetOf(one);
  return target === undefined ? judgePackage(one) : judgeRoom(one, target);
}

function judgeRoom({ from, specifier, typeOnly }: Import, target: string): string | undefined {
  const [room, other] = [roomOf(from), roomOf(target)];
  if (target.startsWith('..')) return `${from}: ${specifier} leads out of the tree`;
  const allowed = ROOMS[room];
  if (allowed === undefined) return `${from}: ${room}/ is no room of docs/architecture.md`;
  if (target === 'package.json') return undefined; // its version
  if (room === 'web' && other === 'core' && !typeOnly) return `${from}: the console takes types from core/, no code (${specifier})`;
  if (allowed === 'anything' || room === other || allowed.includes(other)) return undefined;
  return `${from}: ${room}/ may not import ${other}/ (${specifier})`;
}

function judgePackage({ from, specifier, typeOnly }: Import): string | undefined {
  if (/^(test|bench|script)\//.test(from)) return undefined;
  const rule = PACKAGES.find(({ name }) => specifier.replace(/^node:/, '') === name || specifier.startsWith(`${name}/`));
  const home = (typeOnly && rule?.types) || rule?.home;
  return home && !home.test(from) ? `${from}: ${specifier} belongs in ${home.source}` : undefined;
}

function roomOf(path: string): string {
  return path.includes('/') ? (path.split('/')[0] ?? '') : '.';
}

/** One cycle of value imports between files as a list of paths, or undefined. */
export function findCycle(imports: readonly Import[]): string[] | undefined {
  const edges = new Map<string, string[]>();
  for (const one of imports) {
    const target = one.typeOnly ? undefined : targetOf(one);
    if (target !== undefined) edges.set(one.from, [...(edges.get(one.from) ?? []), target]);
  }
  const done = new Set<string>();
  const walk = (path: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return undefined;
    for (const next of edges.get(path) ?? []) {
      const cycle = walk(next, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return undefined;
  };
  for (const path of edges.keys()) {
    const cycle = walk(path, []);
    if (cycle) return cycle;
  }
  return undefined;
}
