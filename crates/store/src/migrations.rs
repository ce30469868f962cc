//! The schema, step by step, and who may use it.
//!
//! A migration is never changed once released; a new one is added. `min_reader` is the oldest schema whose programs still
//! work on the result: additive migrations keep it, so that old and new programs may share a database during an update.

use sandgate_domain::Clock;
use sqlx::{Row, SqliteConnection};

use crate::database::Database;
use crate::error::{Error, while_doing};

struct Migration {
    version: i64,
    min_reader: i64,
    sql: &'static str,
}

/// In order, without gaps, from 1.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, min_reader: 1, sql: include_str!("../migrations/0001_initial.sql") },
    Migration { version: 2, min_reader: 1, sql: include_str!("../migrations/0002_messages.sql") },
    Migration {
        version: 3,
        min_reader: 1,
        sql: include_str!("../migrations/0003_pull_requests.sql"),
    },
    // Programs before it can't read the new kind of step.
    Migration { version: 4, min_reader: 4, sql: include_str!("../migrations/0004_closing.sql") },
    Migration { version: 5, min_reader: 4, sql: include_str!("../migrations/0005_upkeep.sql") },
    Migration { version: 6, min_reader: 4, sql: include_str!("../migrations/0006_admission.sql") },
];

/// The schema that this program brings a database to.
const KNOWN: i64 = MIGRATIONS.len() as i64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Schema {
    version: i64,
    min_reader: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// Nothing to do.
    Current,
    /// Migrations after this version are missing.
    Behind(i64),
    /// Written by a newer program, and not for us.
    TooNew(Schema),
}

/// What to do about a file with this schema; none means a new file.
fn fit(found: Option<Schema>, known: i64) -> Fit {
    match found {
        None => Fit::Behind(0),
        Some(schema) if schema.min_reader > known => Fit::TooNew(schema),
        Some(schema) if schema.version < known => Fit::Behind(schema.version),
        Some(_) => Fit::Current,
    }
}

/// Brings the database to the schema of this program, or refuses it. Several processes may do so at the same time.
pub(crate) async fn apply(database: &Database, clock: &dyn Clock) -> Result<(), Error> {
    let mut reader = database.reader().acquire().await.map_err(while_doing(READING))?;
    let found = find_schema(&mut reader).await?;
    drop(reader);
    match fit(found, KNOWN) {
        Fit::Current => Ok(()),
        Fit::TooNew(schema) => Err(too_new(database, schema)),
        Fit::Behind(_) => catch_up(database, clock).await,
    }
}

async fn catch_up(database: &Database, clock: &dyn Clock) -> Result<(), Error> {
    let mut transaction = database.write(MIGRATING).await?;
    // Somebody else may have been faster since the first look.
    let behind = match fit(find_schema(&mut transaction).await?, KNOWN) {
        Fit::Current => return Ok(()),
        Fit::TooNew(schema) => return Err(too_new(database, schema)),
        Fit::Behind(version) => version,
    };
    if behind == 0 {
        let sql = "CREATE TABLE schema_versions (version BIGINT PRIMARY KEY, \
                   min_reader_version BIGINT NOT NULL, applied_at BIGINT NOT NULL)";
        sqlx::query(sql).execute(&mut *transaction).await.map_err(while_doing(MIGRATING))?;
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > behind) {
        sqlx::raw_sql(migration.sql)
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(MIGRATING))?;
        let sql = "INSERT INTO schema_versions (version, min_reader_version, applied_at) \
                   VALUES ($1, $2, $3)";
        sqlx::query(sql)
            .bind(migration.version)
            .bind(migration.min_reader)
            .bind(clock.now().as_micros())
            .execute(&mut *transaction)
            .await
            .map_err(while_doing(MIGRATING))?;
    }
    transaction.commit().await.map_err(while_doing(MIGRATING))
}

async fn find_schema(connection: &mut SqliteConnection) -> Result<Option<Schema>, Error> {
    let sql =
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_versions'";
    let tables: i64 =
        sqlx::query_scalar(sql).fetch_one(&mut *connection).await.map_err(while_doing(READING))?;
    if tables == 0 {
        return Ok(None);
    }
    let sql =
        "SELECT version, min_reader_version FROM schema_versions ORDER BY version DESC LIMIT 1";
    let row = sqlx::query(sql).fetch_optional(connection).await.map_err(while_doing(READING))?;
    row.map(|row| Ok(Schema { version: row.try_get(0)?, min_reader: row.try_get(1)? }))
        .transpose()
        .map_err(while_doing(READING))
}

fn too_new(database: &Database, schema: Schema) -> Error {
    Error::Newer {
        path: database.path().to_owned(),
        found: schema.version,
        minimum: schema.min_reader,
        known: KNOWN,
    }
}

const READING: &str = "reading the version of the database";
const MIGRATING: &str = "bringing the database to the schema of this version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order_without_gaps() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, index as i64 + 1);
            assert!(migration.min_reader <= migration.version);
        }
    }

    #[test]
    fn what_fits() {
        let schema = |version, min_reader| Some(Schema { version, min_reader });
        assert_eq!(fit(None, 3), Fit::Behind(0));
        assert_eq!(fit(schema(1, 1), 3), Fit::Behind(1));
        assert_eq!(fit(schema(3, 1), 3), Fit::Current);
        assert_eq!(fit(schema(4, 3), 3), Fit::Current, "newer, but made for us too");
        assert_eq!(fit(schema(5, 4), 3), Fit::TooNew(Schema { version: 5, min_reader: 4 }));
    }
}
