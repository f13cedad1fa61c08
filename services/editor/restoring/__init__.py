"""What spoils a picture, taken away: noise, blur, blemishes."""
