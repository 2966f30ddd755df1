// Package h2test tests the retrying Transport over HTTP/2, against a server that follows a script frame by frame. It is a module
// of its own, so that golang.org/x/net is none of the library's requirements.
package h2test
