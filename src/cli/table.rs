//! Columns for a terminal.

/// Rows under their heads, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    });
    let mut text = String::new();
    line(&mut text, heads, &widths);
    for row in rows {
        line(&mut text, std::array::from_fn(|column| row[column].as_str()), &widths);
    }
    text
}

fn line<const N: usize>(text: &mut String, cells: [&str; N], widths: &[usize; N]) {
    let begin = text.len();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(&format!("{cell:width$}  "));
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
