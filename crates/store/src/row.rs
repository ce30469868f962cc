//! Reads the columns of a row into domain values; what can't be read is an error that names the column.

use std::fmt::Display;
use std::str::FromStr;

use sandgate_domain::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Error;

/// One row of a table.
pub(crate) struct Columns<'r> {
    table: &'static str,
    row: &'r SqliteRow,
}

impl<'r> Columns<'r> {
    /// The columns of a row of `table`.
    pub(crate) fn of(table: &'static str, row: &'r SqliteRow) -> Self {
        Self { table, row }
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, Error> {
        self.row.try_get(column).map_err(|error| self.problem(column, error))
    }

    pub(crate) fn text_option(&self, column: &'static str) -> Result<Option<String>, Error> {
        self.row.try_get(column).map_err(|error| self.problem(column, error))
    }

    pub(crate) fn integer(&self, column: &'static str) -> Result<i64, Error> {
        self.row.try_get(column).map_err(|error| self.problem(column, error))
    }

    pub(crate) fn integer_option(&self, column: &'static str) -> Result<Option<i64>, Error> {
        self.row.try_get(column).map_err(|error| self.problem(column, error))
    }

    pub(crate) fn flag(&self, column: &'static str) -> Result<bool, Error> {
        self.integer(column).map(|number| number != 0)
    }

    /// A number of a narrower type.
    pub(crate) fn number<N: TryFrom<i64>>(&self, column: &'static str) -> Result<N, Error>
    where
        N::Error: Display,
    {
        N::try_from(self.integer(column)?).map_err(|error| self.problem(column, error))
    }

    pub(crate) fn number_option<N: TryFrom<i64>>(
        &self,
        column: &'static str,
    ) -> Result<Option<N>, Error>
    where
        N::Error: Display,
    {
        let number = self.integer_option(column)?;
        number.map(N::try_from).transpose().map_err(|error| self.problem(column, error))
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, Error> {
        self.integer(column).map(Timestamp::from_micros)
    }

    pub(crate) fn time_option(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        Ok(self.integer_option(column)?.map(Timestamp::from_micros))
    }

    /// An id or a name.
    pub(crate) fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, Error>
    where
        T::Err: Display,
    {
        self.text(column)?.parse().map_err(|error| self.problem(column, error))
    }

    pub(crate) fn parsed_option<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, Error>
    where
        T::Err: Display,
    {
        let text = self.text_option(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error| self.problem(column, error))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|error| self.problem(column, error))
    }

    pub(crate) fn json_option<T: DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, Error> {
        let text = self.text_option(column)?;
        let value = text.map(|text| serde_json::from_str(&text)).transpose();
        value.map_err(|error| self.problem(column, error))
    }

    /// An error about a column.
    pub(crate) fn problem(&self, column: &'static str, problem: impl Display) -> Error {
        Error::Row { table: self.table, column, problem: problem.to_string() }
    }
}
