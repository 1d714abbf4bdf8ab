//! Who is in the cluster.

pub mod uuid_from_name;
