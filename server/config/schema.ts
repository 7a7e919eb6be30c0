import { z } from 'zod';

const port = z.number().int().min(0).max(65_535);
const nonEmpty = z.string().min(1).max(4096);

/** Connection settings of a MySQL-compatible database. The password is in a file or in WAYSTATION_DATABASE_PASSWORD, nowhere else. */
export const DatabaseConnection = z.strictObject({
  /** `host` or `host:port`, tried in order; port 3306 unless given. */
  hosts: z.array(nonEmpty).min(1).max(16),
  user: nonEmpty,
  name: nonEmpty,
  passwordFile: nonEmpty.optional(),
  /** PEM file of the CA that signed the database's certificate; turns TLS on. */
  ca: nonEmpty.optional(),
});
export type DatabaseConnection = z.infer<typeof DatabaseConnection>;

export const ConfigSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
    .default('waystation'),
  /** Boot files and scripts, plain. 0 = any free port, here and below. */
  httpPort: port.default(80),
  /** API, console, agents, replication. */
  httpsPort: port.default(443),
  tftpPort: port.default(69),
  /** `proxy`: answer PXE clients beside someone else's DHCP server. */
  pxe: z.enum(['off', 'proxy']).default('off'),
  /** Interfaces for the PXE answer; none named: all that have an IPv4 address. */
  interfaces: z.array(z.string().regex(/^[A-Za-z0-9._@-]{1,15}$/)).default([]),
  /** `sqlite`, a data source's name, a URL with one host, or connection settings. */
  database: z.union([nonEmpty, DatabaseConnection]).default('sqlite'),
  /** What targets and children are told: base URLs, and the host for TFTP. Default: the address the request came in on. */
  advertise: z.strictObject({ http: z.url().optional(), https: z.url().optional(), tftp: nonEmpty.optional() }).default({}),
  /** Where a target that nobody knows boots to: `engine` (it waits there), `disk` or `menu` (the boot menu). */
  unknownTargets: z.enum(['engine', 'disk', 'menu']).default('engine'),
  /** Where a known target without an order boots to: `disk` or `menu`. */
  idleTargets: z.enum(['disk', 'menu']).default('disk'),
  /** How long the boot menu waits for somebody before it boots the disk. */
  menuSeconds: z.number().int().min(1).max(3600).default(10),
  /** Whether a machine's first key is accepted at once or waits for an operator. */
  approve: z.enum(['auto', 'operator']).default('auto'),
  /** How long a deployed system may take from the verified disk to its first call, before its order fails. */
  callHomeSeconds: z.number().int().min(1).max(604_800).default(1800),
  /** Whether a server that is known from the shared database alone is believed: as child, as parent, and in what it asks for. */
  enrolThroughDatabase: z.boolean().default(true),
  /** After how long without its parent a server asks the deputy that this one has named whether it took over. */
  deputyAfterSeconds: z.number().int().min(1).max(604_800).default(300),
  logLevel: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
  /** Free bytes that replication and imports leave on the store's file system. */
  storeReserveBytes: z.number().int().min(0).default(1_073_741_824),
  /** What archives built for children may take together before the ones not used longest go. */
  archiveCacheBytes: z.number().int().min(0).default(34_359_738_368),
  /** A server that gives less than `slowPercent` of what it gave before for `slowSeconds` is slow: content comes from the next source, if there is one. */
  slowPercent: z.number().min(0).max(100).default(10),
  slowSeconds: z.number().min(1).max(3600).default(30),
  /** After so many hours without replication a site is reported as not synced; 0 = never. */
  alarmAfterHours: z.number().min(0).max(8760).default(48),
  /** What the packs of the store may take altogether; 0: no quota. */
  storeQuotaBytes: z.number().int().min(0).default(0),
  /** When the store is read again, and when it is collected: cron expressions in `maintenanceTimezone`, or `off`. */
  scrubSchedule: nonEmpty.default('15 1 * * *'),
  gcSchedule: nonEmpty.default('45 4 * * *'),
  maintenanceTimezone: nonEmpty.default('UTC'),
  /** How fast a scrub reads, and within how many days it reads everything. */
  scrubRateMbPerSecond: z.number().int().min(1).max(10_000).default(20),
  scrubDays: z.number().int().min(1).max(366).default(30),
});

export type Config = Readonly<z.infer<typeof ConfigSchema>>;
export type DatabaseSetting = Config['database'];
