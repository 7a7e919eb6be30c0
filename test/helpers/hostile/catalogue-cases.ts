import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import type { Json } from '../../../core/canonical-json.ts';
import type { Envelope } from '../../../core/envelope.ts';
import type { Catalogue } from '../../../core/sync-protocol.ts';
import { signerOf } from '../../server/api/signer.ts';
import { forgedObject, resigned, withBody } from './forge.ts';
import { type Lies, sendJson } from './lying-parent.ts';
import type { HostileCase, World } from './world.ts';

const DAY_MS = 86_400_000;

/** Answers the catalogue request itself. */
const instead = (write: (response: ServerResponse) => void): Lies => ({
  answer: (request, response) => {
    if (!request.url?.includes('/catalogue')) return false;
    write(response);
    return true;
  },
});
const objectsOf = (honest: Catalogue) => honest.objects as unknown as Envelope[];
/** Tells `objects` only, at the generation that the branch holds: nothing else in the answer could be taken. */
const only = (world: World, honest: Catalogue, objects: Envelope[]) =>
  resigned(world.hq, honest, { head: { generation: honest.head.since }, objects });
const alsoTells = (world: World, make: (world: World) => Envelope): Lies => ({
  catalogue: (honest) => resigned(world.hq, honest, { objects: [...objectsOf(honest), make(world)] }),
});
const changesBody = (world: World, change: Record<string, Json>): Lies => ({
  catalogue: (honest) => withBody(world.hq, honest, (body) => ({ ...body, ...change })),
});
const changesHead = (world: World, change: (honest: Catalogue['head']) => Partial<Catalogue['head']>): Lies => ({
  catalogue: (honest) => resigned(world.hq, honest, { head: change(honest.head) }),
});

/** What is wrong with the answer as such. */
const ANSWERS: readonly HostileCase[] = [
  {
    name: 'an answer that sends the child elsewhere (302)',
    code: 'version_mismatch',
    lies: () => instead((response) => response.writeHead(302, { location: '/api/v1/elsewhere' }).end()),
    check: ({ parent }) => assert.ok(!parent.asked.some((path) => path.includes('elsewhere')), parent.asked.join(' ')),
  },
  {
    name: 'a page of HTML',
    code: 'version_mismatch',
    lies: () => instead((response) => sendJson(response, '<html>welcome</html>')),
  },
  {
    name: 'a catalogue without end',
    code: 'bad_data',
    lies: () =>
      instead((response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"objects":[');
        const octets = Buffer.alloc(1_048_576, ' ');
        const more = () => {
          while (!response.destroyed && response.write(octets));
        };
        response.on('drain', more);
        more();
      }),
  },
  {
    name: 'JSON a million levels deep',
    code: 'bad_data',
    lies: () => instead((response) => sendJson(response, `{"protocol":1,"objects":${'['.repeat(1e6)}${']'.repeat(1e6)}}`)),
  },
  {
    name: 'a catalogue of a million objects',
    code: 'bad_data',
    lies: () => instead((response) => sendJson(response, `{"protocol":1,"objects":[${'{"kind":"image"},'.repeat(1e6)}{}]}`)),
  },
  {
    name: "a refusal with one of our own run's codes",
    code: 'failed',
    lies: () => instead((response) => sendJson(response, { code: 'run_in_progress', detail: 'taken over' }, 409)),
  },
  {
    name: 'a protocol that nobody speaks',
    code: 'version_mismatch',
    lies: () => ({ catalogue: (honest) => ({ ...honest, protocol: 99 }) }),
  },
  {
    name: 'an object whose kind is no word',
    code: 'version_mismatch',
    lies: (world) => alsoTells(world, ({ hq }) => forgedObject(hq, { kind: '../Firmware' as 'image', body: {} })),
  },
];

/** What is wrong with the head. */
const HEADS: readonly HostileCase[] = [
  {
    name: 'a head signed by a stranger under its own key',
    code: 'bad_signature',
    lies: ({ stranger }) => ({ catalogue: (honest) => ({ ...resigned(stranger, honest, {}), keyId: stranger.keys.signerKeyId }) }),
  },
  {
    name: "a head signed by a stranger under the parent's key id",
    code: 'bad_signature',
    lies: ({ stranger }) => ({ catalogue: (honest) => resigned(stranger, honest, {}) }),
  },
  {
    name: 'a head of another server',
    code: 'bad_signature',
    lies: (world) => changesHead(world, () => ({ serverId: world.stranger.self.id })),
  },
  {
    name: 'a stranger as signer of the parent',
    code: 'bad_signature',
    lies: ({ hq, stranger }) => ({
      catalogue: (honest) => ({
        ...resigned(stranger, honest, { signers: [{ ...stranger.keys.signer, serverId: hq.self.id }] }),
        keyId: stranger.keys.signerKeyId,
      }),
    }),
  },
  {
    name: 'a lower generation than the one held',
    code: 'mismatch',
    lies: (world) => changesHead(world, () => ({ generation: 0, since: 0 })),
  },
  {
    name: 'a lower epoch than the one held',
    code: 'mismatch',
    lies: (world) => changesHead(world, () => ({ epoch: 0, since: 0 })),
  },
  {
    name: 'a gap behind the generation held',
    code: 'mismatch',
    lies: (world) => changesHead(world, (head) => ({ since: head.since + 1 })),
  },
  { name: 'an expired head', code: 'expired', lies: (world) => changesHead(world, () => ({ issuedAt: 1000, expiresAt: 2000 })) },
  {
    name: 'a head from next year',
    code: 'expired',
    lies: (world) =>
      changesHead(world, ({ issuedAt, expiresAt }) => ({ issuedAt: issuedAt + 365 * DAY_MS, expiresAt: expiresAt + 365 * DAY_MS })),
  },
  {
    name: 'a head that is valid for ten years',
    code: 'expired',
    lies: (world) => changesHead(world, ({ issuedAt }) => ({ expiresAt: issuedAt + 3650 * DAY_MS })),
  },
  {
    name: 'objects left out that the head speaks of',
    code: 'bad_signature',
    lies: () => ({ catalogue: (honest) => ({ ...honest, objects: [] }) }),
  },
];

/** What is wrong with an object, under a head that is in order. */
const OBJECTS: readonly HostileCase[] = [
  {
    name: 'an object whose body was changed behind its signature',
    code: 'bad_signature',
    lies: (world) => alsoTells(world, ({ hq }) => ({ ...forgedObject(hq, { body: { a: 1 } }), body: { a: 2 } })),
  },
  {
    name: "an object of the parent's signed by a stranger",
    code: 'bad_signature',
    lies: (world) =>
      alsoTells(world, ({ hq, stranger }) => ({ ...forgedObject(stranger, { origin: hq.self.id, body: {} }), keyId: hq.keys.signerKeyId })),
  },
  {
    name: 'an object of a server that nobody vouches for',
    code: 'bad_signature',
    lies: ({ hq, stranger }) => ({
      catalogue: (honest) => {
        const objects = [...objectsOf(honest), forgedObject(stranger, { body: {} })];
        return resigned(hq, honest, { objects, signers: [...honest.signers, stranger.keys.signer] });
      },
    }),
  },
  {
    name: "a tombstone of another origin's object, signed by the parent",
    code: 'bad_signature',
    lies: (world) => alsoTells(world, ({ hq, stranger }) => forgedObject(hq, { kind: 'image', origin: stranger.self.id, body: null })),
  },
  {
    name: 'an object under a key id that is not the one that signed it',
    code: 'bad_signature',
    lies: (world) => alsoTells(world, ({ hq, stranger }) => ({ ...forgedObject(hq, { body: {} }), keyId: stranger.keys.signerKeyId })),
  },
  {
    name: 'two objects of one id',
    code: 'bad_data',
    lies: (world) => alsoTells(world, ({ hq, news }) => forgedObject(hq, { kind: 'image', id: news.id, revision: 2, body: null })),
  },
  {
    name: "a tombstone of the branch's own image, under the number of the generation held",
    code: 'mismatch',
    lies: (world) => ({
      catalogue: (honest) =>
        only(world, honest, [
          forgedObject(world.hq, { kind: 'image', id: world.own.id, origin: world.branch.self.id, revision: 9, body: null }),
        ]),
    }),
  },
  {
    name: "an object of the parent's under the id of the branch's own image, under the number of the generation held",
    code: 'mismatch',
    lies: (world) => ({
      catalogue: (honest) => only(world, honest, [forgedObject(world.hq, { kind: 'image', id: world.own.id, revision: 9, body: null })]),
    }),
  },
  {
    name: 'an old revision of an object that is here, under the number of the generation held',
    code: 'mismatch',
    lies: (world) => ({
      catalogue: (honest) => only(world, honest, [forgedObject(world.hq, { kind: 'image', id: world.base.id, revision: 1, body: null })]),
    }),
  },
  { name: 'an image whose name is a path', code: 'bad_data', lies: (world) => changesBody(world, { name: '../../etc/cron.d/x' }) },
  { name: 'an image whose version is a path', code: 'bad_data', lies: (world) => changesBody(world, { version: '../1' }) },
  { name: 'an image of more bytes than a disk can have', code: 'bad_data', lies: (world) => changesBody(world, { sizeBytes: 2 ** 52 }) },
  {
    name: 'an image with a hundred thousand partitions',
    code: 'bad_data',
    lies: (world) => {
      const partition = { number: 1, startBytes: 0, sizeBytes: 0, type: '83' };
      const partitionTable = { scheme: 'mbr', partitions: Array.from({ length: 100_000 }, () => partition) };
      return changesBody(world, { disk: { sizeBytes: 1, sectorSize: 512, bootType: 'bios', partitionTable } });
    },
  },
  {
    name: 'a signer record that another CA than the pinned one made',
    code: 'bad_signature',
    lies: ({ hq, stranger }) => ({
      catalogue: async (honest: Catalogue) => {
        const signer = await signerOf(hq.self.id, stranger.keys.signer);
        return { ...resigned(stranger, honest, { signers: [signer] }), keyId: stranger.keys.signerKeyId };
      },
    }),
  },
];

export const CATALOGUE_CASES: readonly HostileCase[] = [...ANSWERS, ...HEADS, ...OBJECTS];
