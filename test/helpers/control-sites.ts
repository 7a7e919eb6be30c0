import type { ConfigFlags } from '../../server/config.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { enrolAt, makeSite, reopenSite } from './replication-sites.ts';
import { runWhileServing } from './served-run.ts';

export { waitUntil as eventually } from './wait-until.ts';

/** A server that can be stopped and started again at the same address. */
export type Node = {
  readonly name: string;
  site: Site;
  serving: Serving | undefined;
  start(): Promise<void>;
  /** Stops serving; the site is open again afterwards, for whoever looks into it. */
  stop(): Promise<void>;
  close(): Promise<void>;
  /** After `close`. */
  reopen(): Promise<void>;
};

type NodeOptions = { readonly now?: () => number; readonly flags?: ConfigFlags };

/** Makes a server and starts it, as the child of `parent` when one is given. `now` is its clock. */
export async function makeNode(root: string, name: string, parent?: Node, options: NodeOptions = {}): Promise<Node> {
  const node = nodeOf(await makeSite(root, name, options.flags, options.now), { root, name, ...options });
  if (parent !== undefined) await enrolAt(parent.site, node.site, parent.serving?.httpsUrl ?? '');
  await node.start();
  return node;
}

/** Starts the server of a directory that is there. */
export async function startNode(root: string, name: string, options: NodeOptions = {}): Promise<Node> {
  const node = nodeOf(await reopenSite(root, name, options.flags, options.now), { root, name, ...options });
  await node.start();
  return node;
}

function nodeOf(opened: Site, { root, name, now, ...options }: NodeOptions & { readonly root: string; readonly name: string }): Node {
  let flags: ConfigFlags = options.flags ?? {};
  const node: Node = {
    name,
    site: opened,
    serving: undefined,
    start: async () => {
      node.serving = await startServe(node.site);
      flags = { ...flags, httpsPort: Number(new URL(node.serving.httpsUrl).port) };
    },
    stop: async () => {
      await node.close();
      await node.reopen();
    },
    close: async () => {
      await node.serving?.close();
      node.serving = undefined;
      await node.site.close();
    },
    reopen: async () => {
      node.site = await reopenSite(root, name, flags, now);
    },
  };
  return node;
}

/** One run of a server that is up, to its end. */
export async function replicate({ site }: Node): Promise<void> {
  const { state } = await runWhileServing(site);
  if (state !== 'done') throw new Error(`the run is ${state}`);
}

/** Everything that happened at `from` is known at `to`, each once: the same numbers with the same content. */
export async function eventsArrived(from: Site, to: Site): Promise<boolean> {
  const rows = (site: Site) =>
    site.db('events').where({ origin: from.self.id }).orderBy('seq').select('seq', 'at', 'actor', 'kind', 'subject', 'data');
  const [sent, received] = [await rows(from), await rows(to)];
  return sent.length === received.length && JSON.stringify(sent) === JSON.stringify(received);
}
