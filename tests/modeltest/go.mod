module github.com/seawall-go/seawall/tests/modeltest

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/seawall-go/seawall v0.0.0
)

replace github.com/seawall-go/seawall => ../..
