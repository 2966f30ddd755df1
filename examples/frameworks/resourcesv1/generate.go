// Package resourcesv1 has the messages of the RPCs, which are generated from resources.proto.
package resourcesv1

// protoc needs protoc-gen-go and protoc-gen-connect-go in the PATH.
//
//go:generate protoc --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative resources.proto
