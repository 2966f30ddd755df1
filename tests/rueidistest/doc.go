// Package rueidistest runs Seawall's Redis limiter and store with the client library rueidis. Its
// Runner is an example to copy: package redislimit describes what a Runner must do.
//
// It is a separate module, so that the published ones do not depend on rueidis.
package rueidistest
