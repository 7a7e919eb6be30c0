import { request } from 'node:http';
import { waitUntil } from '../wait-until.ts';
import type { BranchView } from './ledger.ts';

/** For one piece of work of a branch in an emulated machine. */
export const LONGEST_MS = 300_000;

/** An answer other than 2xx; `code` is that of its problem document. */
export class Refused extends Error {
  readonly code: string | undefined;
  constructor(what: string, words: string) {
    super(`${what}: ${words}`);
    this.code = /"code":"([a-z_]+)"/.exec(words)?.[1];
  }
}

export type BranchApi = {
  get<Answer>(path: string): Promise<Answer>;
  post<Answer>(path: string, body?: object): Promise<Answer>;
  put<Answer>(path: string, body: object): Promise<Answer>;
};

/** The API of a branch behind a port of this host. Throws `Refused` with its words; whatever else is thrown means that no answer came. */
export function branchApi(port: number): BranchApi {
  const call = <Answer>(method: string, path: string, body?: object) =>
    new Promise<Answer>((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = { host: 'localhost', ...(text === undefined ? {} : { 'content-type': 'application/json' }) };
      const outgoing = request({ host: '127.0.0.1', port, method, path: `/api/v1${path}`, headers }, (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('error', reject);
        answer.on('end', () => {
          const words = Buffer.concat(parts).toString();
          if (!answer.complete) reject(new Error(`${method} ${path}: half an answer`));
          else if ((answer.statusCode ?? 500) >= 300) reject(new Refused(`${method} ${path}`, `${answer.statusCode} ${words}`));
          else resolve(JSON.parse(words) as Answer);
        });
      });
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  return {
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body ?? {}),
    put: (path, body) => call('PUT', path, body),
  };
}

type Operation<Result> = {
  readonly id: string;
  readonly state: string;
  readonly result: Result;
  readonly error: { message: string } | null;
};

/** Starts long work and gives what it ends with. Throws `Refused` when it failed. */
export async function doLongWork<Result>(api: BranchApi, path: string, body?: object): Promise<Result> {
  const { id } = await api.post<Operation<Result>>(path, body);
  const ended = async () => {
    const operation = await api.get<Operation<Result>>(`/operations/${id}`);
    return operation.state !== 'running' && operation;
  };
  const operation = await waitUntil(`the end of ${path}`, ended, { limitMs: LONGEST_MS, everyMs: 100 });
  if (operation.state !== 'done') throw new Refused(path, String(operation.error?.message));
  return operation.result;
}

/** What a branch that answers logged as errors; for the words of a test that failed. */
export async function readErrors(api: BranchApi): Promise<string> {
  const { items } = await api.get<Items<{ readonly level: string }>>('/logs?limit=1000');
  return items.flatMap((line) => (line.level === 'error' ? [JSON.stringify(line)] : [])).join('\n');
}

type Items<Item> = { readonly items: readonly Item[] };
type ImageView = { readonly name: string; readonly version: string; readonly manifest: string; readonly state: string };
type DocumentView = {
  readonly name: string;
  readonly type: string;
  readonly revision: number;
  readonly content: { readonly value: string };
};

/** All that a branch says it has, while one generation was in force: a run that publishes in between makes it be asked again. */
export async function viewBranch(api: BranchApi): Promise<BranchView> {
  return waitUntil('a look at the branch within one generation', async () => {
    const generation = await heldGeneration(api);
    const { items: targets } = await api.get<Items<BranchView['targets'][number]>>('/targets?limit=1000');
    const { items: orders } = await api.get<Items<BranchView['orders'][number]>>('/orders?limit=1000');
    const { items: images } = await api.get<Items<ImageView>>('/images');
    const { items: documents } = await api.get<Items<DocumentView>>('/documents');
    if ((await heldGeneration(api)) !== generation) return undefined;
    return {
      ...{ targets, orders, generation },
      images: images.map(({ name, version, manifest, state }) => ({ reference: `${name}@${version}`, manifest, state })),
      documents: documents.map(({ name, revision, content }) => ({ name, revision, value: content.value })),
    };
  });
}

async function heldGeneration(api: BranchApi): Promise<number> {
  const { items } = await api.get<Items<{ readonly heldGeneration: number }>>('/links');
  return items[0]?.heldGeneration ?? 0;
}
