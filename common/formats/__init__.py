"""What people bring: measurements in cm, mm and inches, and CSV files of them."""
