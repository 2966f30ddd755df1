// Package h2test tests retry.Transport over HTTP/2, against a server that follows a script
// frame by frame. It is a separate module so that the library does not require
// golang.org/x/net.
package h2test
