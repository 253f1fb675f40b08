# cryptd
