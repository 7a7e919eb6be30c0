import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { type Digest, digestBytes, digestFromBytes } from '../../core/ids.ts';

/*
 * The index says where chunks lie. It repeats, row by row, what the frames in the packs say of themselves, and
 * nothing else: so it can be made again from them, and each octet of it can be compared with them. Ages
 * are not in it (a pack's age is its file's time). A chunk may lie in two packs; each copy has its row.
 */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS packs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS frames (
    id INTEGER PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL, raw_bytes INTEGER NOT NULL,
    UNIQUE (pack, offset)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS chunks (
    digest BLOB NOT NULL, frame INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (digest, frame, position)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS chunks_by_frame ON chunks (frame, position);
`;

/** Where one copy of a chunk lies: `position` counts chunks inside the frame. */
export type Location = {
  readonly pack: string;
  readonly offset: number;
  readonly frameBytes: number;
  readonly position: number;
  readonly length: number;
};
export type PackRecord = { readonly name: string; readonly bytes: number };
export type ChunkRecord = { readonly digest: Digest; readonly length: number };
export type FrameRecord = {
  readonly offset: number;
  readonly bytes: number;
  readonly rawBytes: number;
  readonly chunks: readonly ChunkRecord[];
};

export type ContentIndex = {
  has(digest: Digest): boolean;
  /** All copies, in a stable order. */
  locate(digest: Digest): readonly Location[];
  /** Octets that a chunk takes in its pack: its share of its frame. 0 when it is not here. */
  storedBytes(digest: Digest): number;
  /** Adds a pack with all its frames in one transaction; the rows of `replaced` go in the same one. */
  addPack(pack: PackRecord, frames: readonly FrameRecord[], replaced?: string): void;
  removePack(name: string): void;
  packs(): readonly PackRecord[];
  framesOf(pack: string): readonly FrameRecord[];
  counts(): { readonly packs: number; readonly frames: number; readonly chunks: number; readonly rawBytes: number; readonly bytes: number };
  /** What SQLite itself finds wrong; empty when nothing. */
  integrity(): readonly string[];
  close(): void;
};

type Row = Record<string, number | string | Uint8Array | null>;

/** Opens or makes the index. Throws SQLite's error when the file is damaged or no database. */
export function openIndex(path: string): ContentIndex {
  const db = new DatabaseSync(path);
  try {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA busy_timeout = 5000');
    db.exec(SCHEMA);
    return indexOf(db);
  } catch (error) {
    db.close();
    throw error;
  }
}

function indexOf(db: DatabaseSync): ContentIndex {
  const all = (sql: string): ((...values: SQLInputValue[]) => Row[]) => {
    const statement = db.prepare(sql);
    return (...values) => statement.all(...values) as Row[];
  };
  const has = db.prepare('SELECT 1 FROM chunks WHERE digest = ? LIMIT 1');
  const locate = all(
    `SELECT p.name AS pack, f.offset, f.bytes AS frame_bytes, c.position, c.bytes FROM chunks c
     JOIN frames f ON f.id = c.frame JOIN packs p ON p.id = f.pack WHERE c.digest = ? ORDER BY c.frame, c.position`,
  );
  const share = db.prepare(
    'SELECT c.bytes * 1.0 * f.bytes / f.raw_bytes AS share FROM chunks c JOIN frames f ON f.id = c.frame WHERE c.digest = ? LIMIT 1',
  );
  const packs = all('SELECT name, bytes FROM packs ORDER BY name');
  const frames = all(
    'SELECT f.id, f.offset, f.bytes, f.raw_bytes FROM frames f JOIN packs p ON p.id = f.pack WHERE p.name = ? ORDER BY f.offset',
  );
  const chunks = all('SELECT digest, bytes FROM chunks WHERE frame = ? ORDER BY position');
  const counts = all(`SELECT (SELECT count(*) FROM packs) AS packs, (SELECT count(*) FROM frames) AS frames,
    (SELECT count(*) FROM chunks) AS chunks, (SELECT coalesce(sum(raw_bytes), 0) FROM frames) AS raw_bytes,
    (SELECT coalesce(sum(bytes), 0) FROM packs) AS bytes`);
  return {
    has: (digest) => has.get(digestBytes(digest)) !== undefined,
    locate: (digest) => locate(digestBytes(digest)).map(toLocation),
    storedBytes: (digest) => Number((share.get(digestBytes(digest)) as Row | undefined)?.['share'] ?? 0),
    addPack: (pack, records, replaced) =>
      transact(db, () => {
        if (replaced !== undefined) deletePack(db, replaced);
        insertPack(db, pack, records);
      }),
    removePack: (name) => transact(db, () => deletePack(db, name)),
    packs: () => packs().map((row) => ({ name: String(row['name']), bytes: Number(row['bytes']) })),
    framesOf: (pack) => frames(pack).map((row) => toFrame(row, chunks(Number(row['id'])))),
    counts: () => toCounts(counts()[0] ?? {}),
    integrity: () =>
      db
        .prepare('PRAGMA integrity_check')
        .all()
        .map((row) => String((row as Row)['integrity_check']))
        .filter((line) => line !== 'ok'),
    close: () => db.close(),
  };
}

function insertPack(db: DatabaseSync, pack: PackRecord, records: readonly FrameRecord[]): void {
  const packId = db.prepare('INSERT INTO packs (name, bytes) VALUES (?, ?)').run(pack.name, pack.bytes).lastInsertRowid;
  const frame = db.prepare('INSERT INTO frames (pack, offset, bytes, raw_bytes) VALUES (?, ?, ?, ?)');
  const chunk = db.prepare('INSERT INTO chunks (digest, frame, position, bytes) VALUES (?, ?, ?, ?)');
  for (const record of records) {
    const frameId = frame.run(packId, record.offset, record.bytes, record.rawBytes).lastInsertRowid;
    record.chunks.forEach(({ digest, length }, position) => {
      chunk.run(digestBytes(digest), frameId, position, length);
    });
  }
}

function deletePack(db: DatabaseSync, name: string): void {
  const ofPack = '(SELECT f.id FROM frames f JOIN packs p ON p.id = f.pack WHERE p.name = ?)';
  db.prepare(`DELETE FROM chunks WHERE frame IN ${ofPack}`).run(name);
  db.prepare('DELETE FROM frames WHERE pack IN (SELECT id FROM packs WHERE name = ?)').run(name);
  db.prepare('DELETE FROM packs WHERE name = ?').run(name);
}

function transact(db: DatabaseSync, work: () => void): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    work();
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function toLocation(row: Row): Location {
  return {
    pack: String(row['pack']),
    offset: Number(row['offset']),
    frameBytes: Number(row['frame_bytes']),
    position: Number(row['position']),
    length: Number(row['bytes']),
  };
}

function toFrame(row: Row, chunks: Row[]): FrameRecord {
  return {
    offset: Number(row['offset']),
    bytes: Number(row['bytes']),
    rawBytes: Number(row['raw_bytes']),
    chunks: chunks.map((chunk) => ({ digest: digestFromBytes(chunk['digest'] as Uint8Array), length: Number(chunk['bytes']) })),
  };
}

function toCounts(row: Row): ReturnType<ContentIndex['counts']> {
  return {
    packs: Number(row['packs']),
    frames: Number(row['frames']),
    chunks: Number(row['chunks']),
    rawBytes: Number(row['raw_bytes']),
    bytes: Number(row['bytes']),
  };
}
