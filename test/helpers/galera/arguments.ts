import { join } from 'node:path';

/** Where a node is, and where the whole cluster is. Ports count from `port`: clients, neighbours, what was missed, copies. */
export type NodePlace = {
  readonly name: string;
  readonly dir: string;
  readonly address: string;
  readonly port: number;
  /** Of all nodes. */
  readonly addresses: readonly string[];
  /** Where `wsrep_sst_rsync` is. */
  readonly scripts: string;
};

/** Root's rsync would give the copies to nobody: so the whole node is his. */
export const NOBODY = process.getuid?.() === 0 ? { user: 'nobody', id: 65_534 } : undefined;
export const AS_NOBODY = NOBODY === undefined ? [] : [`--user=${NOBODY.user}`];

const PROVIDER = '/usr/lib/galera/libgalera_smm.so';

/** Everything that a node is started with, whatever the machine's own settings say. */
export function serverArguments({ dir, address, port, addresses, name }: NodePlace): string[] {
  const provider = {
    base_host: address,
    base_port: port + 1,
    'gmcast.listen_addr': `tcp://${address}:${port + 1}`,
    'ist.recv_addr': `${address}:${port + 2}`,
    'gcache.size': '16M',
    'gcache.page_size': '16M',
    'pc.recovery': 'false',
  };
  return [
    ...['--no-defaults', `--datadir=${join(dir, 'data')}`, `--socket=${join(dir, 'sock')}`, `--tmpdir=${dir}`, ...AS_NOBODY],
    ...[`--bind-address=${address}`, `--port=${port}`, `--pid-file=${join(dir, 'pid')}`, `--log-error=${join(dir, 'error.log')}`],
    ...['--innodb-buffer-pool-size=32M', '--innodb-log-file-size=8M', '--innodb-fast-shutdown=2', '--performance-schema=off'],
    ...['--skip-name-resolve', '--character-set-server=latin1'],
    ...['--binlog-format=ROW', '--innodb-autoinc-lock-mode=2', '--innodb-flush-log-at-trx-commit=1'],
    ...['--wsrep-on=1', `--wsrep-provider=${PROVIDER}`, '--wsrep-cluster-name=waystation', `--wsrep-node-name=${name}`],
    // MariaDB 11 has the provider's options as variables of their own, and not all of them (`isolate`).
    '--loose-plugin-wsrep-provider=OFF',
    `--wsrep-cluster-address=gcomm://${addresses.map((one) => `${one}:${port + 1}`).join(',')}`,
    ...[`--wsrep-node-address=${address}:${port + 1}`, `--wsrep-node-incoming-address=${address}:${port}`],
    ...['--wsrep-sst-method=rsync', `--wsrep-sst-receive-address=${address}:${port + 3}`],
    `--wsrep-provider-options=${Object.entries(provider)
      .map(([key, value]) => `${key}=${value}`)
      .join(';')}`,
  ];
}
