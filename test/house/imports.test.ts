import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { findCycle, findImports, type Import, judgeImport, targetOf } from './import-map.ts';
import { readTypeScript } from './source-files.ts';

const imports = readTypeScript()
  .filter(({ path }) => !path.startsWith('test/house/'))
  .flatMap(findImports);

test('every import keeps to the rooms of docs/architecture.md', () => {
  assert.ok(imports.length > 50, 'the walk found the imports');
  assert.deepEqual(imports.map(judgeImport).filter(Boolean), []);
});

test('every relative import names a file that is there, with its extension', () => {
  const broken = imports.filter((one) => {
    const target = targetOf(one);
    return target !== undefined && !existsSync(target);
  });
  assert.deepEqual(broken, []);
});

test('no files import each other in a circle', () => {
  assert.deepEqual(findCycle(imports), undefined);
});

test('every package that is imported is one of package.json', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string>>;
  const known = new Set([...Object.keys(manifest['dependencies'] ?? {}), ...Object.keys(manifest['devDependencies'] ?? {})]);
  const packages = imports.filter(({ specifier }) => !/^(\.|node:)/.test(specifier));
  const names = packages.map(({ from, specifier }) => ({
    from,
    name: specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/'),
  }));
  assert.deepEqual(
    names.filter(({ name }) => !known.has(name)),
    [],
  );
});

const case_ = (from: string, specifier: string, typeOnly = false): Import => ({ from, specifier, typeOnly });

test('the map refuses what it must refuse', () => {
  const wrong = [
    case_('core/ids.ts', '../server/site.ts'),
    case_('sync/content/open.ts', '../../server/site.ts'),
    case_('agent/main.ts', '../sync/content/open.ts'),
    case_('server/site.ts', '../cli/main.ts'),
    case_('server/site.ts', '../../elsewhere.ts'),
    case_('attic/old.ts', './x.ts'),
    case_('sync/x.ts', 'knex', true),
    case_('server/x.ts', 'knex'),
    case_('server/db/x.ts', 'express'),
    case_('server/x.ts', 'winston'),
    case_('server/x.ts', 'node:child_process'),
    case_('server/x.ts', 'react'),
    case_('web/src/x.tsx', '../../server/site.ts', true),
    case_('web/src/x.tsx', '../../core/ids.ts'),
  ];
  assert.deepEqual(
    wrong.filter((one) => judgeImport(one) === undefined),
    [],
  );
  const right = [
    case_('server/x.ts', 'knex', true),
    case_('sync/rsync-process.ts', 'node:child_process'),
    case_('cli/main.ts', '../server/site.ts'),
    case_('web/src/x.tsx', '../../core/ids.ts', true),
  ];
  assert.deepEqual(right.map(judgeImport).filter(Boolean), []);
});

test('the walk sees static, type, re-exported, dynamic and worker imports', () => {
  const text = [
    "import a from './a.ts';",
    "import type { B } from './b.ts';",
    "export { c } from './c.ts';",
    "const d = await import('./d.ts');",
    "const e = new Worker(new URL('./e.ts', import.meta.url));",
    "import {\n  f,\n  g,\n} from './f.ts';",
    "import './h.ts';",
    "import { type I } from './i.ts';",
  ].join('\n');
  const found = findImports({ path: 'core/x.ts', text }).map(({ specifier, typeOnly }) => `${specifier}${typeOnly ? ' type' : ''}`);
  assert.deepEqual(found.sort(), ['./a.ts', './b.ts type', './c.ts', './d.ts', './e.ts', './f.ts', './h.ts', './i.ts type']);
});

test('a circle is found wherever it starts', () => {
  const circle = [case_('core/a.ts', './b.ts'), case_('core/b.ts', './c.ts'), case_('core/c.ts', './b.ts')];
  assert.deepEqual(findCycle(circle), ['core/b.ts', 'core/c.ts', 'core/b.ts']);
  assert.equal(findCycle([case_('core/a.ts', './b.ts'), case_('core/b.ts', './a.ts', true)]), undefined);
});
