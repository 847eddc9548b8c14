//! Changing single keys of a job description before it is checked: for command lines and tests.

use toml::{Table, Value};

use super::error::JobError;

/// Returns `text` with each dotted key set to its value. Tables on the way are made; comments are lost.
///
/// # Errors
/// If `text` is not TOML, or a key leads through something that is not a table.
pub fn edit(text: &str, changes: &[(&str, Value)]) -> Result<String, JobError> {
    let mut root: Table =
        toml::from_str(text).map_err(|error| JobError::one("", error.to_string().trim_end().to_owned()))?;
    for (key, value) in changes {
        let mut table = &mut root;
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let entry = table.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            table = match entry {
                Value::Table(table) => table,
                _ => return Err(JobError::one(*key, format!("`{part}` is not a table"))),
            };
        }
        table.insert(last.to_owned(), value.clone());
    }
    toml::to_string(&root).map_err(|error| JobError::one("", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_adds_keys() {
        let text = edit(
            "name = \"a\"\n[source]\npath = \"x\"\n",
            &[("source.path", Value::String("/data".into())), ("batch.max_records", Value::Integer(7))],
        )
        .unwrap();
        let table: Table = toml::from_str(&text).unwrap();
        assert_eq!(table["source"]["path"].as_str(), Some("/data"));
        assert_eq!(table["batch"]["max_records"].as_integer(), Some(7));
        let error = edit("name = \"a\"", &[("name.x", Value::Integer(1))]).unwrap_err();
        assert_eq!(error.problems[0].key, "name.x");
    }
}
