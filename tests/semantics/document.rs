//! The page as the test reads it: its time lines, and the rows of the state table.

use std::collections::BTreeSet;

/// Kinds of blocks that promise nothing a test could try.
const PLAIN_KINDS: [&str; 2] = ["text", "toml"];
/// Columns before those of the breakers.
const COLUMNS: [&str; 3] = ["t", "Datadog", "arrives"];
/// The last column of a table that shows transitions.
const SHOWN_IN: &str = "shown in";

/// The whole page.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) blocks: Vec<Block>,
    pub(crate) transitions: Vec<Transition>,
}

/// One time line.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// TOML: settings of one breaker, or a whole breakers' file.
    pub(crate) settings: String,
    /// The breakers whose state each row tells.
    pub(crate) breakers: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One row of a time line.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: usize,
    /// Since the time line's start.
    pub(crate) at_ms: i64,
    pub(crate) datadog: String,
    pub(crate) arrives: String,
    /// One for each breaker.
    pub(crate) states: Vec<String>,
}

/// One row of the state table.
#[derive(Debug)]
pub(crate) struct Transition {
    line: usize,
    /// One or several states.
    from: Vec<String>,
    to: String,
    /// For each of `from`, the time line and the time that show it.
    places: Vec<String>,
}

impl Document {
    /// Reads the page. The problems: each with its line.
    pub(crate) fn parse(text: &str) -> Result<Document, Vec<String>> {
        let (mut page, mut problems) = (Document::default(), Vec::new());
        let lines: Vec<&str> = text.lines().collect();
        let (mut index, mut columns) = (0, Vec::new());
        while let Some(text) = lines.get(index) {
            index += 1;
            if let Some(kind) = text.strip_prefix("```") {
                let start = index;
                let inside: Vec<&str> =
                    lines[start..].iter().take_while(|text| **text != "```").copied().collect();
                index = start + inside.len() + 1;
                if index > lines.len() {
                    problems.push(at(start, "the block has no end"));
                    continue;
                }
                match Block::parse(start, kind, &inside) {
                    Ok(block) => page.blocks.extend(block),
                    Err(problem) => problems.push(problem),
                }
            } else if text.starts_with('|') {
                match page.table_row(index, text, &mut columns) {
                    Ok(()) => {}
                    Err(problem) => problems.push(problem),
                }
            } else {
                columns.clear();
            }
        }
        let names: BTreeSet<&str> = page.blocks.iter().map(|block| block.name.as_str()).collect();
        if names.len() < page.blocks.len() {
            problems.push(at(1, "two time lines have one name"));
        }
        if problems.is_empty() { Ok(page) } else { Err(problems) }
    }

    /// One line of a Markdown table; `columns` are those of the table so far.
    fn table_row(&mut self, line: usize, text: &str, columns: &mut Vec<String>) -> Result<(), String> {
        let cells: Vec<String> =
            text.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        if columns.is_empty() {
            *columns = cells;
        } else if columns.last().is_some_and(|last| last == SHOWN_IN) && !cells[0].starts_with("--") {
            self.transitions.push(Transition::parse(line, &cells)?);
        }
        Ok(())
    }
}

impl Block {
    /// The block that opens in `line`; none if it promises nothing.
    fn parse(line: usize, kind: &str, inside: &[&str]) -> Result<Option<Block>, String> {
        if PLAIN_KINDS.contains(&kind) {
            return Ok(None);
        }
        let name =
            kind.strip_prefix("timeline ").ok_or_else(|| at(line, format!("a block of kind `{kind}`")))?;
        let table = inside.iter().position(|text| text.contains('|')).unwrap_or(inside.len());
        let settings = inside[..table].join("\n");
        let mut rows =
            inside[table..].iter().enumerate().map(|(index, text)| (line + table + 1 + index, *text));
        let columns: Vec<String> = rows.next().map(|(_, text)| cells(text)).unwrap_or_default();
        if columns.len() <= COLUMNS.len() || columns[..COLUMNS.len()] != COLUMNS {
            return Err(at(line, format!("the columns are {COLUMNS:?} and then breakers, not {columns:?}")));
        }
        let rows =
            rows.map(|(line, text)| Row::parse(line, text, columns.len())).collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Err(at(line, "no row says what is so"));
        }
        let breakers = columns[COLUMNS.len()..].to_vec();
        Ok(Some(Block { line, name: name.trim().to_owned(), settings, breakers, rows }))
    }
}

impl Row {
    fn parse(line: usize, text: &str, columns: usize) -> Result<Row, String> {
        let cells = cells(text);
        if cells.len() != columns {
            return Err(at(line, format!("{} cells, not {columns}", cells.len())));
        }
        let at_ms =
            clock_ms(&cells[0]).ok_or_else(|| at(line, format!("`{}` is no time such as 1:05", cells[0])))?;
        let (datadog, arrives) = (cells[1].clone(), cells[2].clone());
        Ok(Row { line, at_ms, datadog, arrives, states: cells[COLUMNS.len()..].to_vec() })
    }
}

impl Transition {
    /// A row `is | what happens | becomes | … | shown in`.
    fn parse(line: usize, cells: &[String]) -> Result<Transition, String> {
        let [from, _, to, .., places] = cells else {
            return Err(at(line, "fewer columns than the state table has"));
        };
        let list = |cell: &str| {
            cell.replace('`', "").split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>()
        };
        let row = Transition { line, from: list(from), to: to.clone(), places: list(places) };
        if row.from.len() == row.places.len() {
            Ok(row)
        } else {
            Err(at(line, "not one time line for each state"))
        }
    }

    /// Whether the time lines that it names show it: the state of their first breaker in the row before, and in the row.
    pub(crate) fn shown_in(&self, blocks: &[Block]) -> Result<(), String> {
        for (from, place) in self.from.iter().zip(&self.places) {
            let wrong = |what: &str| Err(at(self.line, format!("{place}: {what}")));
            let Some((name, time)) = place.split_once(' ') else {
                return wrong("not a time line and a time");
            };
            let Some(block) = blocks.iter().find(|block| block.name == name) else {
                return wrong("no such time line");
            };
            let row = block.rows.iter().rposition(|row| Some(row.at_ms) == clock_ms(time));
            let Some(row) = row.filter(|row| *row > 0) else {
                return wrong("no row there, or none before it");
            };
            let state =
                |row: usize| block.rows[row].states[0].split(' ').next().unwrap_or_default().to_owned();
            if (state(row - 1).as_str(), state(row).as_str()) != (from, &self.to) {
                return wrong(&format!("{} becomes {}, not {from} {}", state(row - 1), state(row), self.to));
            }
        }
        Ok(())
    }
}

/// A problem as it is told.
pub(crate) fn at(line: usize, what: impl std::fmt::Display) -> String {
    format!("line {line}: {what}")
}

/// `m:ss` in milliseconds.
pub(crate) fn clock_ms(text: &str) -> Option<i64> {
    let (minutes, seconds) = text.split_once(':')?;
    let (minutes, seconds): (i64, i64) =
        (minutes.parse().ok()?, seconds.parse().ok().filter(|_| seconds.len() == 2)?);
    (0..60).contains(&seconds).then_some((minutes * 60 + seconds) * 1000)
}

fn cells(text: &str) -> Vec<String> {
    text.split('|').map(|cell| cell.trim().to_owned()).collect()
}
