package leakcheck

var RunTests = run
