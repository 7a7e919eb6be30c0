import { useEffect, useRef } from 'react';
import type { ServerTree, TreeServer } from '../../../core/server-tree.ts';
import { countOf, formatBytes } from '../format.ts';
import { Button } from '../kit/button.tsx';
import { Icon } from '../kit/icon.tsx';
import { Time } from '../kit/time.tsx';
import { Actions } from './actions.tsx';
import { Images } from './images.tsx';
import { Connection, Run, rowButtonId } from './server-row.tsx';
import { HealthLabel, nextRunWords, parentWords, roleWords } from './words.tsx';

type Props = {
  readonly server: TreeServer;
  readonly tree: ServerTree;
  readonly select: (id: string | undefined) => void;
  /** Somebody opened it just now, and goes on in it; not so when it stood in the address. */
  readonly takesFocus: boolean;
  readonly refresh: () => void;
  readonly onSignedOut: (words?: string) => void;
};

/** Everything about one server. */
export function Details({ server, tree, select, takesFocus, refresh, onSignedOut }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (takesFocus) heading.current?.focus();
  }, [takesFocus]);
  const close = () => {
    select(undefined);
    // Who worked by keyboard goes on where it was opened; below a narrow page's details the list is not there yet.
    setTimeout(() => document.getElementById(rowButtonId(server.id))?.focus());
  };
  return (
    <section className="ws-details" aria-labelledby="details-title">
      <div className="ws-details__head">
        <h2 className="pf-v6-c-title pf-m-xl" id="details-title" tabIndex={-1} ref={heading}>
          {server.name}
        </h2>
        <HealthLabel level={server.health.level} />
        <span className="ws-details__close">
          <Button kind="plain" label="Close details" onClick={close}>
            <Icon name="close" />
          </Button>
        </span>
      </div>
      {server.health.findings.length > 0 && (
        <ul className="ws-findings">
          {server.health.findings.map((finding) => (
            <li key={finding.words}>
              <HealthLabel level={finding.level} />
              <span>
                {finding.words}
                {finding.since !== null && (
                  <>
                    {' '}
                    (<Time at={finding.since} now={tree.at} />)
                  </>
                )}
              </span>
            </li>
          ))}
        </ul>
      )}
      <Actions {...{ server, tree, refresh, onSignedOut }} />
      <Facts server={server} tree={tree} />
      <Images server={server} onSignedOut={onSignedOut} />
    </section>
  );
}

function Facts({ server, tree }: Pick<Props, 'server' | 'tree'>) {
  const now = tree.at;
  return (
    <dl className="ws-facts">
      <dt>Role</dt>
      <dd>{roleWords(server)}</dd>
      <dt>Parent</dt>
      <dd>{parentWords(server)}</dd>
      <dt>Connection</dt>
      <dd>
        <Connection server={server} now={now} />
      </dd>
      {(server.run !== null || server.parent !== null) && (
        <>
          <dt>Last run</dt>
          <dd>
            <Run server={server} now={now} />
          </dd>
        </>
      )}
      {server.syncedAt !== null && (
        <>
          <dt>In sync</dt>
          <dd>
            <Time at={server.syncedAt} now={now} />
          </dd>
        </>
      )}
      {server.parentId !== null && server.version !== null && (
        <>
          <dt>Next run</dt>
          <dd>
            {server.nextRunAt === null ? nextRunWords(server) : <Time at={server.nextRunAt} now={now} />}
            {server.nextRunAt !== null && server.nextRunAt < now && <span className="ws-quiet">, as it last said</span>}
          </dd>
        </>
      )}
      {server.disk !== null && (
        <>
          <dt>Disk</dt>
          <dd>{`${formatBytes(server.disk.freeBytes)} free of ${formatBytes(server.disk.totalBytes)}`}</dd>
        </>
      )}
      {server.reportedAt !== null && server.relation !== 'self' && (
        <>
          <dt>Reported</dt>
          <dd>
            <Time at={server.reportedAt} now={now} />
          </dd>
        </>
      )}
      {server.waiting > 0 && (
        <>
          <dt>On its way there</dt>
          <dd>{countOf(server.waiting, 'command')}</dd>
        </>
      )}
      {server.url !== null && (
        <>
          <dt>Address</dt>
          <dd>{server.url}</dd>
        </>
      )}
      {server.version !== null && (
        <>
          <dt>Version</dt>
          <dd>{server.version}</dd>
        </>
      )}
    </dl>
  );
}
