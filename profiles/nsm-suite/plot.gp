# gnuplot plot.gp, in this folder, draws the pictures from plot.dat.
set encoding utf8
do for [kind in 'svg png'] {
if (kind eq 'svg') { set terminal svg size 1000,560 font 'sans-serif,15' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) { set terminal pngcairo size 1000,560 font 'sans,11' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) { set terminal png size 1000,560 }
set output 'front.'.kind
set title 'Trade-off (filled: on the Pareto front)'
set xlabel 'held-out loss'
set ylabel 'step, ms'
set logscale y
set yrange [1.38:7.41]
set ytics (1.5, 2, 2.5, 3, 4, 5, 6, 7)
set offsets graph 0.05, graph 0.05, 0, 0
set grid back lt 1 lw 1 lc rgb '#d8d8d8'
set key outside right noenhanced samplen 2
plot NaN notitle, \
  'plot.dat' index 'front' every ::0::0 using 1:4:2:3:5:6 with xyerrorbars pt 7 ps 1.5 lc rgb '#000000' title 'nsm-simple', \
  'plot.dat' index 'front' every ::1::1 using 1:4:2:3:5:6 with xyerrorbars pt 6 ps 1.5 lc rgb '#0072B2' title 'nsm-advanced', \
  'plot.dat' index 'front' every ::2::2 using 1:4:2:3:5:6 with xyerrorbars pt 6 ps 1.5 lc rgb '#D55E00' title 'nsm-sequential', \
  'plot.dat' index 'front' every ::3::3 using 1:4:2:3:5:6 with xyerrorbars pt 7 ps 1.5 lc rgb '#009E73' title 'lstm', \
  'plot.dat' index 'front' every ::4::4 using 1:4:2:3:5:6 with xyerrorbars pt 6 ps 1.5 lc rgb '#CC79A7' title 'encoder'
reset
unset output
}
