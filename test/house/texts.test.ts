import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupOf, LONG } from '../runner/groups.ts';
import { findLines, listFiles, readTexts, readTypeScript } from './source-files.ts';

const self = 'test/house/texts.test.ts';
const texts = readTexts().filter(({ path }) => path !== self);
const code = texts.filter(({ path }) => /\.tsx?$|\.css$|^script\/|^test\/(run$|fresh\/)|^\.ci\//.test(path));
const ours = readTypeScript().filter(({ path }) => !/^(test|bench)\//.test(path));

test('every test file is in a group that the runner runs', () => {
  const tests = listFiles().filter((path) => /(\.|-|_)(test|spec)\.[a-z]+$/.test(path));
  assert.ok(tests.length > 0);
  assert.deepEqual(
    tests.filter((path) => !path.endsWith('.test.ts') || groupOf(path) === undefined),
    [],
  );
  assert.deepEqual(
    LONG.filter((path) => !tests.includes(path)),
    [],
    'they start first, and are not there',
  );
});

test('no test is skipped, focused or promised', () => {
  const pattern = /\b(test|it|describe|suite)\.(skip|only|todo)\b|\b(skip|todo|only): *(true|['"`])|\bt\.(skip|todo)\(/;
  assert.deepEqual(
    texts.filter(({ path }) => path.startsWith('test/')).flatMap((file) => findLines(file, pattern)),
    [],
  );
});

test('no file of code is longer than 400 lines', () => {
  const long = code.filter(({ text }) => text.trimEnd().split('\n').length > 400);
  assert.deepEqual(
    long.map(({ path }) => path),
    [],
  );
});

test('no committed text speaks of unfinished work', () => {
  const words = /\b(TODO|FIXME|XXX|HACK)\b|\b[Nn]ot implemented\b|\b[Pp]laceholder\b|\bfor now\b|(?<!EFI )\b[Ss]tub(s|bed)?\b/;
  assert.deepEqual(
    texts.flatMap((file) => findLines(file, words)),
    [],
  );
});

test('no committed text holds the marks of a merge that was not finished', () => {
  assert.deepEqual(
    texts.flatMap((file) => findLines(file, /^(<<<<<<< |>>>>>>> |\|\|\|\|\|\|\| )/)),
    [],
  );
});

test('no committed text names a path of the machine it was written on', () => {
  const paths = /(^|[\s'"`(=])\/(work|home\/[a-z]+|Users)\/[a-z]/;
  assert.deepEqual(
    texts.flatMap((file) => findLines(file, paths)),
    [],
  );
});

test('no error is dropped without a word why', () => {
  const empty = /catch( *\([^)]*\))? *\{\s*\}|\.catch\(\(\) *=> *(\{\s*\}|undefined|null)\)/;
  const dropped = ours.flatMap(({ path, text }) => {
    const lines = text.split('\n');
    const explained = (index: number): boolean => / \/\/ |^ *(\/\/|\*)/.test(`${lines[index]}`) || /^ *\/\/ /.test(`${lines[index - 1]}`);
    return lines.flatMap((line, index) => (empty.test(line) && !explained(index) ? [`${path}:${index + 1}: ${line.trim()}`] : []));
  });
  assert.deepEqual(dropped, []);
});

test('no program is started through a shell string', () => {
  const shell = /shell: *true|\bexecSync\(|[^.\w]exec\(`|['"](\/bin\/)?(ba|da)?sh['"], *\[?['"]-c/;
  assert.deepEqual(
    ours.flatMap((file) => findLines(file, shell)),
    [],
  );
});

test('files have kebab-case names and modules only named exports', () => {
  const oddNames = listFiles().filter((path) => /\.tsx?$/.test(path) && !/^([a-z0-9-]+\/)*[a-z0-9][a-z0-9.-]*\.tsx?$/.test(path));
  assert.deepEqual(oddNames, []);
  const runnersOwn = 'test/runner/reporter.ts'; // node --test asks for a default export
  const defaults = readTypeScript().filter(({ path }) => path !== runnersOwn);
  assert.deepEqual(
    defaults.flatMap((file) => findLines(file, /^export default /)),
    [],
  );
});
