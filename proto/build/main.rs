//! Compiles every `.proto` file under `protos/` without `protoc`.
//!
//! `.proto` files → descriptors (protox) → every `required` becomes `optional`, since prost would silently fill in a default
//! for a required field that is not there → Rust types (prost). What was required is checked by generated code instead.

mod impls;
mod table;

use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn Error>> {
    writeln!(stdout(), "cargo:rerun-if-changed=build\ncargo:rerun-if-changed=protos")?;
    let root = PathBuf::from("protos");
    let mut files = Vec::new();
    find(&root, &mut files)?;
    files.sort();

    let mut descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let table = table::Table::new(&descriptors);
    fs::write(out.join("impls.rs"), impls::generate(&table)?)?;
    relabel(&mut descriptors);
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .compile_well_known_types()
        .out_dir(&out)
        .include_file("modules.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Takes out of the descriptors what prost would turn into something unwanted: `required` labels, and `deprecated` options
/// (which become Rust deprecations, although the wire contract obliges us to go on using such fields).
fn relabel(descriptors: &mut FileDescriptorSet) {
    fn message(descriptor: &mut DescriptorProto) {
        for field in &mut descriptor.field {
            if field.label() == Label::Required {
                field.set_label(Label::Optional);
            }
            if let Some(options) = &mut field.options {
                options.deprecated = None;
            }
        }
        descriptor.enum_type.iter_mut().for_each(enumeration);
        descriptor.nested_type.iter_mut().for_each(message);
    }
    fn enumeration(descriptor: &mut EnumDescriptorProto) {
        for options in descriptor.value.iter_mut().filter_map(|value| value.options.as_mut()) {
            options.deprecated = None;
        }
    }
    for file in &mut descriptors.file {
        // Google's Duration is written in another syntax, in which fields are never absent.
        file.syntax = Some("proto2".to_owned());
        file.message_type.iter_mut().for_each(message);
        file.enum_type.iter_mut().for_each(enumeration);
    }
}
