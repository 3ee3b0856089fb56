//! Columns for a terminal.

/// Rows under their heads, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    columns(&heads, rows)
}

/// The same for any number of columns; each row has as many cells as there are heads.
pub(super) fn columns(heads: &[&str], rows: &[impl AsRef<[String]>]) -> String {
    let width = |(column, head): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(column)).map(|cell| cell.chars().count());
        cells.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(width).collect();
    let mut text = String::new();
    line(&mut text, heads, &widths);
    for row in rows {
        line(&mut text, row.as_ref(), &widths);
    }
    text
}

fn line(text: &mut String, cells: &[impl AsRef<str>], widths: &[usize]) {
    let begin = text.len();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(&format!("{:width$}  ", cell.as_ref()));
    }
    text.truncate(begin + text[begin..].trim_end().len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["1".to_owned(), "é".to_owned()], ["10000".to_owned(), String::new()]];
        assert_eq!(table(["id", "name"], &rows), "id     name\n1      é\n10000\n");
    }
}
