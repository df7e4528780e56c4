"""What a release is made of: the same bytes whoever builds them, and a look before it."""
