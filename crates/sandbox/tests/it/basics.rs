//! Commands, their streams and their ends.

use sandgate_sandbox::ExitStatus;

use crate::world::{World, run};

#[tokio::test]
async fn a_command_runs_and_its_output_arrives() {
    let Some(world) = World::usable().await else { return };
    println!("{:#?}", world.engine.report());
    let sandbox = world.sandbox().await;
    let said = run(&sandbox, "id -u; hostname; echo oops >&2; exit 3").await;
    assert_eq!(said.status, ExitStatus::Exited(3), "{said:?}");
    assert_eq!(said.stdout, format!("1000\n{}\n", sandbox.name()));
    assert_eq!(said.stderr, "oops\n");
    println!("{:?}", sandbox.destroy().await.unwrap());
}
