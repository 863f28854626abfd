//! The DynamoDB store through the real SDK, over HTTP, against an embedded DynamoDB.

mod contract;
mod dynalite;
mod init;
mod lost_replies;
mod partitions;
mod proxy;
mod repartition;
mod server;
mod table;
