//! What is registered besides clients: resource servers with their permissions, and roles.

mod lists;
mod permissions;
mod resource_server_fields;
mod resource_servers;
mod roles;
