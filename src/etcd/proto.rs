//! The messages and calls of `etcd.proto`, as its compiler writes them.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

tonic::include_proto!("etcdserverpb");
