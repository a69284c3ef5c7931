//! Rows as text for people: columns as wide as their widest cell.

use std::fmt::Write as _;

/// The rows below their titles, columns two spaces apart, lines without spaces at their end.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([titles[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let titles = titles.map(str::to_uppercase);
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let rows = [["ada".to_owned(), "1".to_owned()], ["Łukasz Żółć".to_owned(), String::new()]];
        assert_eq!(table(["name", "count"], &rows), "NAME         COUNT\nada          1\nŁukasz Żółć\n");
    }
}
