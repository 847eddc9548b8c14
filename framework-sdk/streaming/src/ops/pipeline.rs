//! Filter and project, row by row.

use crate::job::{Expr, Job, Operator};
use crate::value::{Column, Type, Value};

enum Step {
    Filter(Expr),
    /// Input index and target type of each output column.
    Project(Vec<(usize, Column)>),
}

/// The compiled operators of a job.
pub(crate) struct Pipeline {
    steps: Vec<Step>,
}

impl Pipeline {
    pub(crate) fn new(job: &Job) -> Self {
        let mut columns = job.source.columns.clone();
        let mut steps = Vec::new();
        for operator in &job.operators {
            match operator {
                Operator::Filter(expr) => steps.push(Step::Filter(expr.clone())),
                Operator::Project(projections) => {
                    let index_of = |name: &str| columns.iter().position(|c| c.name == name);
                    let project: Vec<(usize, Column)> = projections
                        .iter()
                        .map(|p| (index_of(&p.input).expect("checked with the job"), p.output.clone()))
                        .collect();
                    columns = projections.iter().map(|p| p.output.clone()).collect();
                    steps.push(Step::Project(project));
                }
            }
        }
        Self { steps }
    }

    /// Returns what becomes of a row: `None` if a filter holds it back.
    ///
    /// # Errors
    /// Says which column cannot be converted.
    pub(crate) fn apply(&self, mut row: Vec<Value>) -> Result<Option<Vec<Value>>, String> {
        for step in &self.steps {
            match step {
                Step::Filter(expr) if !expr.accepts(&row) => return Ok(None),
                Step::Filter(_) => {}
                Step::Project(project) => {
                    let cast = |(index, column): &(usize, Column)| {
                        let value = row.get(*index).unwrap_or(&Value::Null);
                        value.cast(column.kind).ok_or_else(|| cannot_cast(value, column))
                    };
                    row = project.iter().map(cast).collect::<Result<_, String>>()?;
                }
            }
        }
        Ok(Some(row))
    }
}

fn cannot_cast(value: &Value, column: &Column) -> String {
    let mut text = String::new();
    value.write_text(&mut text);
    let text: String = text.chars().take(60).collect();
    let kind: Type = column.kind;
    format!("column `{}`: `{text}` cannot be made a value of type {kind}", column.name)
}
