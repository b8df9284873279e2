"""Native proto rules under the names that @bazel_tools loads from @rules_proto."""

proto_lang_toolchain = native.proto_lang_toolchain
proto_library = native.proto_library
