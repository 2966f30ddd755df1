// Package rueidistest runs Seawall's Redis limiter and store with the client library rueidis. Its
// [Runner] serves both, and is an example to copy. Packages redislimit and redisstore describe what
// a Runner must do.
//
// It is a separate module, so that the published ones do not depend on rueidis.
package rueidistest
