//! `sandgate schema`: the JSON Schema of `.sandgate.yaml`, for editors.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Prints the schema.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    output::document(context.global.output, &sandgate_engine::config::schema())?;
    Ok(Exit::Ok)
}
