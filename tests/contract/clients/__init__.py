"""The generated clients and the examples, compiled and run by their own toolchains: `make test-contract`."""
