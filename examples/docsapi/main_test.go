package main

import (
	"testing"

	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

func TestMain(m *testing.M) { docsapitest.Main(m) }
