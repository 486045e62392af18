/**
 * The journal's tables. `user_version` counts the migrations that a file has had; each is applied once, in order, in
 * one transaction. A migration that has been released is never changed: add one.
 *
 * An update that does not prove itself is taken back, and the release before goes on with the file that the later one has
 * migrated: so a migration only adds, and nothing that a row must have. The later release finds it migrated already.
 */
import type { DatabaseSync } from 'node:sqlite';

export const migrations: readonly string[] = [
  `
  CREATE TABLE attempts (
    n INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    worker INTEGER NOT NULL,
    network TEXT NOT NULL,
    mode TEXT NOT NULL,
    source TEXT NOT NULL,
    source_key BLOB NOT NULL,
    source_port INTEGER NOT NULL,
    destination TEXT NOT NULL,
    destination_port INTEGER NOT NULL,
    helo TEXT,
    esmtp INTEGER NOT NULL,
    sender TEXT COLLATE NOCASE,
    omitted INTEGER NOT NULL,
    size REAL NOT NULL,
    verdict TEXT NOT NULL,
    class TEXT NOT NULL,
    would_be TEXT,
    reply TEXT NOT NULL,
    egress TEXT NOT NULL,
    upstream TEXT,
    upstream_reply TEXT,
    findings TEXT,
    verdict_ms REAL,
    relay_ms REAL,
    total_ms REAL NOT NULL
  ) STRICT;
  CREATE INDEX attempts_at ON attempts (at);
  CREATE INDEX attempts_session ON attempts (session);
  CREATE INDEX attempts_source ON attempts (source_key, at);
  CREATE INDEX attempts_sender ON attempts (sender, at);
  CREATE INDEX attempts_class ON attempts (class, at);
  CREATE TABLE recipients (
    attempt INTEGER NOT NULL REFERENCES attempts (n) ON DELETE CASCADE,
    i INTEGER NOT NULL,
    recipient TEXT NOT NULL COLLATE NOCASE,
    code INTEGER NOT NULL,
    class TEXT NOT NULL,
    PRIMARY KEY (attempt, i)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX recipients_recipient ON recipients (recipient, attempt);
  CREATE INDEX recipients_class ON recipients (class, attempt);
  `,
  // What a sender chooses is indexed by slices of 2048 rows: new rows touch the pages of the newest slice alone, and a
  // search looks into slice after slice. What nearly every row has in common is in no index.
  `
  CREATE TABLE slices (
    slice INTEGER PRIMARY KEY,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
  ) STRICT;
  INSERT INTO slices SELECT n >> 11, min(at), max(at) FROM attempts GROUP BY n >> 11;
  DROP INDEX attempts_at;
  DROP INDEX attempts_source;
  DROP INDEX attempts_sender;
  DROP INDEX attempts_class;
  DROP INDEX recipients_recipient;
  DROP INDEX recipients_class;
  CREATE INDEX attempts_source ON attempts (n >> 11, source_key);
  CREATE INDEX attempts_sender ON attempts (n >> 11, sender);
  CREATE INDEX attempts_class ON attempts (n >> 11, class) WHERE class <> 'accepted.clean';
  CREATE INDEX recipients_recipient ON recipients (attempt >> 11, recipient);
  CREATE INDEX recipients_class ON recipients (attempt >> 11, class) WHERE class <> 'accepted.clean';
  `,
  `
  ALTER TABLE attempts ADD COLUMN subscriber TEXT;
  CREATE INDEX attempts_subscriber ON attempts (n >> 11, subscriber) WHERE subscriber IS NOT NULL;
  `,
  `
  ALTER TABLE attempts ADD COLUMN tls_version TEXT;
  ALTER TABLE attempts ADD COLUMN tls_cipher TEXT;
  ALTER TABLE attempts ADD COLUMN tls_name TEXT;
  ALTER TABLE attempts ADD COLUMN upstream_tls TEXT;
  `,
  `
  ALTER TABLE attempts ADD COLUMN identity TEXT;
  CREATE INDEX attempts_identity ON attempts (n >> 11, identity) WHERE identity IS NOT NULL;
  `,
  `
  ALTER TABLE attempts ADD COLUMN tenant TEXT;
  CREATE INDEX attempts_tenant ON attempts (n >> 11, tenant) WHERE tenant IS NOT NULL;
  `,
  `
  ALTER TABLE attempts ADD COLUMN message TEXT;
  CREATE INDEX attempts_message ON attempts (n >> 11, message) WHERE message IS NOT NULL;
  `,
];

/** Rows of a slice as a power of two: the 11 of the indexes. */
export const SLICE_SHIFT = 11;
/** The class that is in no index. */
export const USUAL_CLASS = 'accepted.clean';

/** A journal that is more than one migration ahead: its tables are not known here. */
export class NewerSchemaError extends Error {
  override readonly name = 'NewerSchemaError';
}

/** Brings the file to the last version, or leaves it one beyond. Throws NewerSchemaError when it is further than that. */
export function migrate(database: DatabaseSync, steps: readonly string[] = migrations): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version > steps.length + 1) {
    throw new NewerSchemaError(`the journal has version ${version}, this release takes up to ${steps.length + 1}`);
  }
  for (let at = version; at < steps.length; at++) {
    database.exec('BEGIN IMMEDIATE');
    try {
      database.exec(steps[at] as string);
      database.exec(`PRAGMA user_version = ${at + 1}`);
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }
}
