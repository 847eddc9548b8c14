//! Columns for people.
//!
//! Owns widths, alignment and the colour of a few words. Widths count characters, so letters beyond ASCII line up too.

use std::fmt::Write;

const GAP: &str = "  ";

/// Rows of text under headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    empty: &'static str,
}

impl Table {
    /// Begins a table; `empty` is said instead of a table without rows.
    pub fn new<const N: usize>(headings: [&'static str; N], empty: &'static str) -> Self {
        Table { headings: headings.to_vec(), rows: Vec::new(), empty }
    }

    /// Adds a row; missing cells are blank.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the table, coloured if standard output wants colour.
    pub fn render(&self) -> String {
        self.render_with(super::is_colored())
    }

    fn render_with(&self, is_colored: bool) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let columns = self.headings.len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let numeric: Vec<bool> = (0..columns).map(|column| self.is_numeric(column)).collect();
        let mut text = String::new();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for (index, row) in std::iter::once(&headings).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for column in 0..columns {
                let cell = row.get(column).map_or("", String::as_str);
                let blanks = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                let cell = if is_colored { paint(cell, index == 0) } else { cell.to_owned() };
                let gap = if column == 0 { "" } else { GAP };
                // Writing to a string cannot fail.
                let _ = if numeric[column] {
                    write!(line, "{gap}{blanks}{cell}")
                } else {
                    write!(line, "{gap}{cell}{blanks}")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Columns of numbers are easier to compare with their ends in line.
    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
        cells.clone().next().is_some()
            && cells.all(|cell| {
                cell == "-" || cell.starts_with(|first: char| first.is_ascii_digit()) && !is_address(cell)
            })
    }
}

fn is_address(cell: &str) -> bool {
    cell.contains(':') || cell.matches(['.', '-']).count() > 1
}

fn paint(cell: &str, is_heading: bool) -> String {
    let code = match cell {
        _ if is_heading => "1",
        "RUNNING" | "TASK_RUNNING" | "FINISHED" | "TASK_FINISHED" | "leader" | "yes" | "registered" => "32",
        "FAILED" | "TASK_FAILED" | "TASK_LOST" | "TASK_ERROR" | "TASK_DROPPED" | "TASK_GONE"
        | "unreachable" | "silent" => "31",
        "BACKOFF" | "UNREACHABLE" | "TASK_UNREACHABLE" | "disconnected" | "KILLED" | "TASK_KILLED" => "33",
        _ => return cell.to_owned(),
    };
    format!("\u{1b}[{code}m{cell}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["NAME", "N", "STATE"], "no rows");
        table.row(["zwölf".into(), "12".into(), "TASK_RUNNING".into()]);
        table.row(["a".into(), "-".into(), String::new()]);
        table
    }

    #[test]
    fn columns_line_up_by_characters() {
        assert_eq!(table().render_with(false), "NAME    N  STATE\nzwölf  12  TASK_RUNNING\na       -\n");
    }

    #[test]
    fn colour_changes_no_width_and_only_known_words() {
        let colored = table().render_with(true);
        assert!(colored.contains("\u{1b}[32mTASK_RUNNING\u{1b}[0m"));
        assert!(colored.contains("zwölf  12"));
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert_eq!(Table::new(["A"], "nothing runs").render_with(false), "nothing runs\n");
    }
}
