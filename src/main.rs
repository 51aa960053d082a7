//! The `jeton` program.

fn main() {}
