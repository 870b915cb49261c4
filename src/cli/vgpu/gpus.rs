// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu gpus`: the catalogue of cards, and questions about it.

use super::look::catalogue;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{clean, table};
use crate::cli::session::Session;
use crate::flows::vgpu::catalogue::{QueryError, Table, Tables};
use crate::tell::sentence;
use clap::Args;

const LIST: &str = "SELECT device_id, support, branches, chip, name FROM gpus \
                    WHERE ?1 = '' AND support <> 'none' ORDER BY name";

/// Show the catalogue of cards, or ask it in SQL
///
/// Without options the cards that have vGPU; with WORDS those whose name, chip or device id holds all of them.
/// The tables for --sql are gpus, gpu_branches and drivers; only one SELECT is answered, within bounds.
/// Rows of your own: ~/.config/hostwright/vgpu/gpus*.csv with the columns device_id, name, chip, support (native,
/// unlock, none) and branches (17;16); for the whole machine in /etc/hostwright/vgpu.
#[derive(Debug, Args)]
pub(crate) struct Gpus {
    /// Words to look for
    #[arg(value_name = "WORDS", conflicts_with = "sql")]
    words: Vec<String>,
    /// A SELECT
    #[arg(long, value_name = "QUERY")]
    sql: Option<String>,
}

/// Runs `vgpu gpus`.
pub(crate) fn run(session: &mut Session, args: &Gpus) -> Result<Exit, Problem> {
    let catalogue = catalogue(session)?;
    let mut tables = Tables::new(&catalogue).map_err(|e| Problem::internal("load the catalogue", &e))?;
    let answer = match &args.sql {
        Some(sql) => tables.ask(sql),
        None if args.words.is_empty() => tables.ask(&LIST.replace("?1", "''")),
        None => tables.ask(&search(&args.words)),
    };
    let answer = answer.map_err(|e| problem(&e))?;
    show(session, &answer)
}

/// A question for all words; each is quoted as SQL quotes.
fn search(words: &[String]) -> String {
    let holds = |word: &String| {
        let word = word.replace('\'', "''").to_lowercase();
        format!("instr(lower(name || ' ' || chip || ' ' || device_id), '{word}') > 0")
    };
    let all: Vec<String> = words.iter().map(holds).collect();
    format!(
        "SELECT device_id, support, branches, chip, name FROM gpus WHERE {} ORDER BY name",
        all.join(" AND ")
    )
}

fn problem(error: &QueryError) -> Problem {
    let code = match error {
        QueryError::NotReading => "not-reading",
        QueryError::TooLong(_) => "too-long",
        QueryError::Sql(_) => "bad-query",
    };
    Problem::new(Exit::Usage, code, "This question is not answered", sentence(&error.to_string()))
}

/// Shows an answer.
pub(super) fn show(session: &mut Session, answer: &Table) -> Result<Exit, Problem> {
    if session.json() {
        session.screen.document(answer)?;
        return Ok(Exit::Done);
    }
    let head: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> =
        answer.rows.iter().map(|r| r.iter().map(|c| clean(&c.to_string())).collect()).collect();
    let mut text = table(session.look(), 0, &head, &rows);
    if answer.cut {
        text.push_str("(there are more rows; ask for less)\n");
    }
    session.screen.print(&text);
    Ok(Exit::Done)
}
