// SPDX-License-Identifier: GPL-3.0-or-later
//! The catalogue as SQLite tables, for questions that nobody thought of. A question only reads, ends after a
//! while, and gives a bounded answer.

use super::Catalogue;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Rows that an answer has at most.
const MAX_ROWS: usize = 5000;
/// How long a question may take.
const MAX_TIME: Duration = Duration::from_secs(3);

const SCHEMA: &str = "
CREATE TABLE gpus (
    device_id TEXT PRIMARY KEY, name TEXT NOT NULL, chip TEXT NOT NULL, support TEXT NOT NULL,
    branches TEXT NOT NULL, unconfirmed_support TEXT, unconfirmed_branches TEXT NOT NULL, origin TEXT NOT NULL
) STRICT;
CREATE TABLE gpu_branches (
    device_id TEXT NOT NULL REFERENCES gpus, branch INTEGER NOT NULL, PRIMARY KEY (device_id, branch)
) STRICT;
CREATE TABLE drivers (
    branch TEXT PRIMARY KEY, major INTEGER NOT NULL, minor INTEGER NOT NULL, host_driver TEXT NOT NULL,
    file_name TEXT NOT NULL, form TEXT NOT NULL, md5 TEXT, sha256 TEXT, unlock_patch TEXT, origin TEXT NOT NULL
) STRICT;
CREATE TABLE guest_drivers (
    branch TEXT NOT NULL, major INTEGER NOT NULL, minor INTEGER NOT NULL, system TEXT NOT NULL,
    guest_driver TEXT NOT NULL, file_name TEXT NOT NULL, md5 TEXT, sha256 TEXT, origin TEXT NOT NULL,
    PRIMARY KEY (branch, system)
) STRICT;
";

/// One value of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text; bytes are shown in hexadecimal.
    Text(String),
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Integer(n) => n.fmt(f),
            Self::Real(n) => n.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Whether there were more rows than are given.
    pub cut: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It does more than read.
    #[error("this question would change something; only one SELECT is answered")]
    NotReading,
    /// It took too long.
    #[error("the question took longer than {0} s and was stopped; ask for less")]
    TooLong(u64),
    /// `SQLite` refuses it.
    #[error("{0}; the tables are gpus, gpu_branches, drivers and guest_drivers")]
    Sql(#[from] rusqlite::Error),
}

/// The catalogue in memory, to be asked.
#[derive(Debug)]
pub struct Tables {
    connection: Connection,
}

impl Tables {
    /// Loads the catalogue; from then on the connection only reads.
    ///
    /// # Errors
    /// When `SQLite` has no memory.
    pub fn new(catalogue: &Catalogue) -> Result<Self, QueryError> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(SCHEMA)?;
        let joined = |branches: &[u32]| branches.iter().map(u32::to_string).collect::<Vec<_>>().join(";");
        let transaction = connection.transaction()?;
        {
            let mut gpu = transaction.prepare("INSERT INTO gpus VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
            let mut of_gpu = transaction.prepare("INSERT OR IGNORE INTO gpu_branches VALUES (?, ?)")?;
            for g in catalogue.gpus() {
                gpu.execute(params![
                    g.device_id,
                    g.name,
                    g.chip,
                    g.support.word(),
                    joined(&g.branches),
                    g.unconfirmed_support.map(super::Support::word),
                    joined(&g.unconfirmed_branches),
                    g.origin
                ])?;
                for branch in &g.branches {
                    of_gpu.execute(params![g.device_id, branch])?;
                }
            }
            let mut driver =
                transaction.prepare("INSERT INTO drivers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
            for d in catalogue.drivers() {
                driver.execute(params![
                    d.branch.to_string(),
                    d.branch.major,
                    d.branch.minor,
                    d.host_driver,
                    d.file_name,
                    d.form.word(),
                    d.md5,
                    d.sha256,
                    d.unlock_patch,
                    d.origin
                ])?;
            }
            let mut guest =
                transaction.prepare("INSERT INTO guest_drivers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
            for d in catalogue.guest_drivers() {
                guest.execute(params![
                    d.branch.to_string(),
                    d.branch.major,
                    d.branch.minor,
                    d.system.word(),
                    d.guest_driver,
                    d.file_name,
                    d.md5,
                    d.sha256,
                    d.origin
                ])?;
            }
        }
        transaction.commit()?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1 << 20)?;
        connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 64 << 10)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
            AuthAction::Function { function_name } if function_name != "load_extension" => {
                Authorization::Allow
            }
            _ => Authorization::Deny,
        }))?;
        Ok(Self { connection })
    }

    /// Answers one SELECT.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn ask(&mut self, sql: &str) -> Result<Table, QueryError> {
        let began = Instant::now();
        self.connection.progress_handler(10_000, Some(move || began.elapsed() > MAX_TIME))?;
        let stopped = |e: rusqlite::Error| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => QueryError::TooLong(MAX_TIME.as_secs()),
            Some(rusqlite::ErrorCode::AuthorizationForStatementDenied | rusqlite::ErrorCode::ReadOnly) => {
                QueryError::NotReading
            }
            _ => QueryError::Sql(e),
        };
        let mut statement = self.connection.prepare(sql).map_err(stopped)?;
        if !statement.readonly() {
            return Err(QueryError::NotReading);
        }
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut answer = Table { columns, rows: Vec::new(), cut: false };
        let mut rows = statement.query([]).map_err(stopped)?;
        while let Some(row) = rows.next().map_err(stopped)? {
            if answer.rows.len() == MAX_ROWS {
                answer.cut = true;
                break;
            }
            let cells = (0..answer.columns.len()).map(|i| row.get_ref(i).map(cell));
            answer.rows.push(cells.collect::<Result<_, _>>()?);
        }
        Ok(answer)
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(n) => Cell::Integer(n),
        ValueRef::Real(n) => Cell::Real(n),
        ValueRef::Text(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Cell::Text(hex::encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        Tables::new(&Catalogue::built_in().unwrap()).unwrap()
    }

    #[test]
    fn cards_and_drivers_can_be_asked_together() {
        let answer = tables()
            .ask(
                "SELECT g.name, max(d.minor) AS newest FROM gpus g JOIN gpu_branches b USING (device_id) \
                 JOIN drivers d ON d.major = b.branch WHERE g.device_id = '1bb3' GROUP BY d.major",
            )
            .unwrap();
        assert_eq!(answer.columns, ["name", "newest"]);
        assert_eq!(answer.rows, [[Cell::Text("Tesla P4".into()), Cell::Integer(14)]]);
    }

    #[test]
    fn nothing_can_be_changed_or_reached_by_a_question() {
        let mut tables = tables();
        for sql in [
            "DELETE FROM gpus",
            "UPDATE gpus SET name = ''",
            "ATTACH '/etc/passwd' AS x",
            "PRAGMA query_only = 0",
            "CREATE TEMP TABLE x (y)",
            "SELECT load_extension('x')",
            "SELECT 1; DELETE FROM gpus",
            "VACUUM INTO '/tmp/x'",
        ] {
            assert!(tables.ask(sql).is_err(), "{sql}");
        }
        assert_eq!(tables.ask("SELECT count(*) > 1000 FROM gpus").unwrap().rows, [[Cell::Integer(1)]]);
    }

    #[test]
    fn an_answer_has_an_end_in_rows_and_in_time() {
        let mut tables = tables();
        let many = tables.ask("SELECT a.name FROM gpus a, gpus b").unwrap();
        assert!(many.cut && many.rows.len() == MAX_ROWS);
        let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
        assert!(matches!(tables.ask(endless), Err(QueryError::TooLong(_))));
    }

    #[test]
    fn a_mistake_is_told_with_the_tables() {
        let error = tables().ask("SELECT * FROM cards").unwrap_err().to_string();
        assert!(error.contains("cards") && error.contains("gpu_branches"), "{error}");
    }
}
