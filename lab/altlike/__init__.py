"""What looks like ALT Linux where no ALT Linux is at hand. Nothing here is ALT's own."""
