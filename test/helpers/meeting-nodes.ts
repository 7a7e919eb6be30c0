import { after } from 'node:test';
import { makeNode, type Node } from './control-sites.ts';
import { type Meeting, startMeeting } from './meeting.ts';

type NodesOf<Names extends readonly string[]> = { readonly [Index in keyof Names]: Node };

/** Servers of these names that run and meet in one database. They, and it, end with the test file. */
export async function startMeetingNodes<const Names extends readonly string[]>(
  root: string,
  names: Names,
): Promise<{ readonly meeting: Meeting; readonly nodes: NodesOf<Names> }> {
  const meeting = await startMeeting(root);
  const nodes: Node[] = [];
  after(async () => {
    for (const node of nodes.toReversed()) await node.close();
    await meeting.mariadb.stop();
  });
  for (const name of names) nodes.push(await makeNode(root, name, undefined, { flags: { database: meeting.database } }));
  return { meeting, nodes: nodes as unknown as NodesOf<Names> };
}
