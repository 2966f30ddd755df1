module example.com/shop

go 1.26.0

require github.com/seawall-go/seawall v0.0.0

replace github.com/seawall-go/seawall => ../../..
