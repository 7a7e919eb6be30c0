import { memo } from 'react';
import type { TreeServer } from '../../../core/server-tree.ts';
import { formatBytes } from '../format.ts';
import { Icon } from '../kit/icon.tsx';
import { Progress } from '../kit/progress.tsx';
import { Time } from '../kit/time.tsx';
import type { Row } from './tree.ts';
import { HealthLabel, imageWords, progressWords, roleWords, runWords } from './words.tsx';

type Props = Row & {
  readonly now: string;
  readonly isSelected: boolean;
  readonly select: (id: string | undefined) => void;
  readonly toggle: (id: string) => void;
};

/** Where the focus goes when the details of a server are closed. */
export function rowButtonId(id: string): string {
  return `server-${id}`;
}

/** One server in the tree. */
export const ServerRow = memo(function ServerRow({
  server,
  depth,
  hasChildren,
  isOpen,
  isOnlyTheWay,
  now,
  isSelected,
  select,
  toggle,
}: Props) {
  const classes = ['pf-v6-c-table__tr', 'ws-row', isSelected && 'ws-row--selected', isOnlyTheWay && 'ws-row--way'];
  return (
    <tr className={classes.filter(Boolean).join(' ')}>
      <th className="pf-v6-c-table__td ws-row__server" scope="row" data-label="Server">
        <div className="ws-row__name" style={{ paddingInlineStart: `${(depth - 1) * 1.5}rem` }}>
          {hasChildren ? (
            <button
              type="button"
              className="ws-row__toggle"
              aria-expanded={isOpen}
              aria-label={`Servers below ${server.name}`}
              onClick={() => toggle(server.id)}
            >
              <Icon name={isOpen ? 'open' : 'shut'} />
            </button>
          ) : (
            <span className="ws-row__toggle" />
          )}
          <span>
            <button
              type="button"
              id={rowButtonId(server.id)}
              className="ws-row__link"
              aria-current={isSelected ? 'true' : undefined}
              onClick={() => select(server.id)}
            >
              {server.name}
            </button>
            <RoleWords server={server} />
          </span>
        </div>
      </th>
      <td className="pf-v6-c-table__td ws-row__state" data-label="State">
        <div>
          <HealthLabel level={server.health.level} /> <State server={server} now={now} />
        </div>
      </td>
      <td className="pf-v6-c-table__td ws-row__connection" data-label="Connection">
        <div>
          <Connection server={server} now={now} />
        </div>
      </td>
      <td className="pf-v6-c-table__td" data-label="Last run">
        <div>
          <Run server={server} now={now} />
        </div>
      </td>
      <td className="pf-v6-c-table__td ws-row__images" data-label="Images">
        <div>
          {imageWords(server)}
          {server.images !== null && server.images.missingBytes > 0 && (
            <span className="ws-quiet">, {formatBytes(server.images.missingBytes)} missing</span>
          )}
        </div>
      </td>
    </tr>
  );
});

/** Most servers are branches: only what else one is takes space. */
function RoleWords({ server }: { readonly server: TreeServer }) {
  const words = [server.relation === 'self' && 'this server', server.role !== 'slave' && roleWords(server)].filter(Boolean);
  return words.length === 0 ? null : <span className="ws-row__role"> {words.join(', ')}</span>;
}

type Part = { readonly server: TreeServer; readonly now: string };

function State({ server, now }: Part) {
  const [first, ...others] = server.health.findings;
  if (first === undefined) return null;
  return (
    <span className="ws-row__words">
      {first.words}
      {first.since !== null && (
        <>
          {' '}
          (<Time at={first.since} now={now} />)
        </>
      )}
      {others.length > 0 && <span className="ws-quiet">{` and ${others.length} more`}</span>}
    </span>
  );
}

export function Connection({ server, now }: Part) {
  if (server.relation === 'self') return <span className="ws-quiet">here</span>;
  if (server.connected === true) return <>connected</>;
  // Who no link leads to is heard by the shared database.
  const heardAt = server.relation === 'peer' ? server.heartbeatAt : server.heardAt;
  if (heardAt === null) return <>never heard of</>;
  return (
    <>
      heard <Time at={heardAt} now={now} />
    </>
  );
}

export function Run({ server, now }: Part) {
  const { run } = server;
  // Who has no parent has nothing to run; what our parent runs is its own matter.
  if (run === null) return <span className="ws-quiet">{server.relation === 'parent' || server.parent === null ? '' : 'none yet'}</span>;
  if (!run.isEnded) {
    return run.progress === null ? (
      <span>{runWords(run)}</span>
    ) : (
      <Progress percent={run.progress.percent} label={`Run of ${server.name}`} words={`${runWords(run)}, ${progressWords(run)}`} />
    );
  }
  return (
    <>
      {runWords(run)}
      {run.endedAt !== null && (
        <>
          {' '}
          <Time at={run.endedAt} now={now} />
        </>
      )}
      {run.bytesReceived !== null && <span className="ws-quiet">, {formatBytes(run.bytesReceived)}</span>}
    </>
  );
}
